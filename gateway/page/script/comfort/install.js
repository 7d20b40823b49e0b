/** Has the browser keep the page itself, so that it opens without a network. */

export async function keepPage() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("page/service-worker.js", { scope: "./" });
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage("keep");
  } catch {
    // A browser that keeps nothing, or an address that is not secure: it needs the network.
  }
}
