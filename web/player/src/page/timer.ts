// What a view does again and again, until it is closed.

/** Call it every so many ms, until the signal is aborted. */
export function every(ms: number, signal: AbortSignal, callback: () => void): void {
  const timer = setInterval(callback, ms);
  signal.addEventListener("abort", () => clearInterval(timer));
}
