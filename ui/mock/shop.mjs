// A web shop on a busy evening: what its tasks are, and how they fail. Everything the mock server tells comes from here.
export const HOSTILE = `<img src=x onerror=alert(1)>"'\u202e\u0000</script>`;

// task, queue, seconds it runs, share that fails, arguments, errors
export const TASKS = [
  [
    "shop.mail.send_receipt",
    "mail",
    0.18,
    0.012,
    (c) => [`(${order(c)},)`, "{'locale': 'de'}"],
    ["smtplib.SMTPServerDisconnected", "TimeoutError"],
  ],
  [
    "shop.payments.capture",
    "payments",
    0.64,
    0.03,
    (c) => [`('pay_${tag(c)}', Decimal('${money(c)}'))`, "{'currency': 'EUR', 'card_token': '***'}"],
    ["shop.payments.CardDeclined", "TimeoutError"],
  ],
  [
    "shop.images.resize",
    "images",
    1.9,
    0.006,
    (c) => [`('s3://media/${tag(c)}.jpg',)`, `{'width': ${c.one([320, 640, 1280])}}`],
    ["PIL.UnidentifiedImageError"],
  ],
  [
    "shop.search.index_product",
    "default",
    0.045,
    0.001,
    (c) => [`(${order(c)},)`, "{}"],
    ["elastic_transport.ConnectionTimeout"],
  ],
  [
    "shop.webhooks.deliver",
    "webhooks",
    0.31,
    0.09,
    (c) => [`('https://partner-${Math.floor(c.next() * 40)}.example/hooks', '${tag(c)}')`, "{'event': 'order.paid'}"],
    ["httpx.ConnectError", "httpx.ReadTimeout", "shop.webhooks.BadSignature"],
  ],
  [
    "shop.stock.sync_warehouse",
    "default",
    12,
    0.02,
    (c) => [`('${c.one(["HAM", "MUC", "CDG", "AMS"])}',)`, "{'full': False}"],
    ["psycopg.errors.DeadlockDetected"],
  ],
  [
    "shop.reports.build_monthly",
    "reports",
    95,
    0.04,
    (c) => [`(2026, ${1 + Math.floor(c.next() * 11)})`, "{}"],
    ["MemoryError"],
  ],
  ["shop.orders.cancel_unpaid", "default", 0.4, 0.004, () => ["()", "{'older_than': 3600.0}"], ["ValueError"]],
  ["legacy.newsletter.send_batch", "mail", 3.2, 0.2, (c) => [`(${Math.floor(c.next() * 900)},)`, "{}"], ["KeyError"]],
];
export const MESSAGES = {
  "smtplib.SMTPServerDisconnected": "Connection unexpectedly closed",
  TimeoutError: "no answer within 10.0 s",
  "shop.payments.CardDeclined": "insufficient_funds",
  "PIL.UnidentifiedImageError": "cannot identify image file <_io.BytesIO object at 0x7f3c>",
  "elastic_transport.ConnectionTimeout": "Connection timed out",
  "httpx.ConnectError": "[Errno 111] Connection refused",
  "httpx.ReadTimeout": "The read operation timed out",
  "shop.webhooks.BadSignature": HOSTILE,
  "psycopg.errors.DeadlockDetected": "deadlock detected: process 4211 waits for ShareLock on transaction 90211",
  MemoryError: "",
  ValueError: "older_than must be positive",
  KeyError: "'unsubscribe_url'",
};
export const WORKERS = ["worker@web-1", "worker@web-2", "images@media-1", "payments@pay-1", "payments@pay-2"];

export function traceback(error, message, task) {
  const [module, name] = [task.split(".").slice(0, -1).join("/"), task.split(".").at(-1)];
  return [
    "Traceback (most recent call last):",
    `  File "/srv/${module}.py", line 58, in ${name}`,
    "    answer = client.post(url, content=body, headers=signed(body))",
    `  File "/srv/.venv/lib/python3.13/site-packages/httpx/_client.py", line 1144, in post`,
    "    return self.request(",
    `  File "/srv/.venv/lib/python3.13/site-packages/httpx/_transports/default.py", line 118, in map_httpcore_exceptions`,
    "    raise mapped_exc(message) from exc",
    `${error}: ${message}`,
  ].join("\n");
}

function order(chance) {
  return 480_000 + Math.floor(chance.next() * 20_000);
}
function tag(chance) {
  return Math.floor(chance.next() * 2 ** 40).toString(36);
}
function money(chance) {
  return chance.about(48).toFixed(2);
}
