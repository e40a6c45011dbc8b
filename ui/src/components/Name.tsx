/** A name of the user's (a task type, a queue, a worker), which may break after its dots where it does not fit. */
export function Name({ text, href }: { text: string; href?: string }) {
  const parts = text.split(/(?<=[._:/@-])/).map((part, i) => [i > 0 && <wbr key={i} />, part]);
  return href ? (
    <a class="name" href={href}>
      {parts}
    </a>
  ) : (
    <span class="name">{parts}</span>
  );
}
