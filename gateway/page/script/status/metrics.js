/** Prometheus' text as numbers, and the numbers as what an operator asks. Knows no screen. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)/;

/** @returns {Map<string, number>} of each metric the sum over its labels */
export function readMetrics(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    const [, name, value] = line.match(LINE) ?? [];
    const number = Number(value);
    if (name && Number.isFinite(number)) sums.set(name, (sums.get(name) ?? 0) + number);
  }
  return sums;
}

/** What is plotted: how each is read of the metrics, and of those before. */
export const GAUGES = {
  running: ({ now }) => now.get("vllm:num_requests_running"),
  waiting: ({ now }) => now.get("vllm:num_requests_waiting"),
  rate: (both) => rateOf("vllm:generation_tokens_total", both),
  cache: ({ now }) => now.get("vllm:kv_cache_usage_perc"),
};

/** A second's share of what a counter has grown by; none where it began anew. */
function rateOf(name, { now, before, seconds }) {
  const [last, first] = [now.get(name), before?.get(name)];
  if (last === undefined || first === undefined || last < first || !seconds) return undefined;
  return (last - first) / seconds;
}
