// Keeps the screen on while the video wall is shown. Browsers have screen wake locks only on pages over HTTPS and of this
// machine, and end them when the page is hidden.

let isWanted = false;
let lock: WakeLockSentinel | null = null;

document.addEventListener("visibilitychange", () => void update());

/** Keep the screen on, or let it go dark again. */
export function keepScreenOn(isOn: boolean): void {
  isWanted = isOn;
  void update();
}

async function update(): Promise<void> {
  if (!isWanted) {
    await lock?.release();
    lock = null;
  } else if (!document.hidden && (lock === null || lock.released)) {
    try {
      lock = await navigator.wakeLock?.request("screen");
    } catch {
      // The battery is low, or the browser does not want to. The wall goes on.
    }
    if (!isWanted) await lock?.release();
  }
}
