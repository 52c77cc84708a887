/** @param sorted ascending @returns 0 where there is none */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** to a tenth */
export function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
