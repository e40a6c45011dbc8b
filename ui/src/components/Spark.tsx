/** A small line of values, scaled to the largest; `label` says in words what it shows. */
export function Spark({ values, label }: { values: number[]; label: string }) {
  const largest = Math.max(...values, 0);
  const step = values.length > 1 ? 96 / (values.length - 1) : 0;
  const points = values.map(
    (value, i) => `${(2 + i * step).toFixed(1)},${(22 - (largest ? value / largest : 0) * 20).toFixed(1)}`,
  );
  return (
    <svg
      class="spark"
      viewBox="0 0 100 24"
      width="100"
      height="24"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {values.length > 1 && <polyline points={points.join(" ")} vector-effect="non-scaling-stroke" />}
    </svg>
  );
}
