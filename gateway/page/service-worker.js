/**
 * Keeps the page's own files, so that it opens and edits without a network. What is asked of the
 * service is never kept nor answered here. With a network, files come from there, always.
 */
"use strict";

const PREFIX = "go-on ";
const SCOPE = new URL(self.registration.scope);
/** What an operator looks at says nothing without the service; licences are not for the screen. */
const LEFT_OUT = /^(status|script\/status\/|style\/status|service-worker|.*\.txt$)/;

self.addEventListener("install", (event) => {
  event.waitUntil(keep().then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", ({ data }) => {
  if (data === "keep") keep().catch(() => {}); // Without a network there is nothing newer.
});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && isOfPage(request.url)) event.respondWith(answer(request));
});

function isOfPage(address) {
  const { origin, pathname } = new URL(address);
  if (origin !== SCOPE.origin || !pathname.startsWith(SCOPE.pathname)) return false;
  const path = pathname.slice(SCOPE.pathname.length);
  return path === "" || path.startsWith("page/");
}

async function answer(request) {
  try {
    const reply = await fetch(request);
    if (reply.status < 500) return reply;
    return (await kept(request)) ?? reply;
  } catch (error) {
    const reply = await kept(request);
    if (reply) return reply;
    throw error;
  }
}

async function kept(request) {
  return caches.match(request, { ignoreSearch: true, ignoreVary: true });
}

/** Fetches all files when one of them has changed; the old ones go when all new ones are there. */
async function keep() {
  const listing = await fetch(new URL("page/files.json", SCOPE), { cache: "no-cache" });
  if (!listing.ok) throw new Error(`The list of files: ${listing.status}`);
  const digests = await listing.json();
  const names = Object.keys(digests).filter((name) => !LEFT_OUT.test(name));
  const name = PREFIX + names.map((each) => digests[each]).join("");
  if (await caches.has(name)) return;
  const addresses = names.map((each) => (each === "index.html" ? SCOPE : new URL(`page/${each}`, SCOPE)));
  const replies = await Promise.all(addresses.map((address) => fetch(address, { cache: "no-cache" })));
  if (!replies.every(({ ok }) => ok)) throw new Error("Not all files came");
  const cache = await caches.open(name);
  await Promise.all(replies.map((reply, at) => cache.put(addresses[at], reply)));
  for (const other of await caches.keys()) {
    if (other.startsWith(PREFIX) && other !== name) await caches.delete(other);
  }
}
