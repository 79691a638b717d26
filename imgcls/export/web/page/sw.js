// Keeps the site's files in the browser, so that a second visit loads none of them again and needs no network, and adds
// the two headers without which browsers give WebAssembly no threads; few static hosts let anyone set them.
"use strict";

const VERSION = "VERSION_OF_SITE";
const SCOPE = new URL("./", self.location).href;
const NAME = `imgcls ${SCOPE} ${VERSION}`;
const PAGE = new URL("index.html", self.location).href;

self.addEventListener("install", (event) => {
  const fresh = new Request(PAGE, { cache: "reload" });
  event.waitUntil(caches.open(NAME).then((cache) => cache.add(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(`imgcls ${SCOPE} `) && name !== NAME);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** The page itself is asked for each time, so that a new version shows at once; what is kept serves without network. */
async function page(request) {
  try {
    return await fetch(request.url, { cache: "no-cache" });
  } catch {
    return caches.match(PAGE, { cacheName: NAME });
  }
}

/** All else has the version in its address, so what is kept is never out of date. */
async function file(request) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  const isOfVersion = new URL(request.url).searchParams.get("v") === VERSION;
  if (response.status === 200 && isOfVersion) await cache.put(request, response.clone()).catch(() => {});
  return response;
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = request.url.startsWith(SCOPE) ? request.url.slice(SCOPE.length).split(/[?#]/)[0] : null;
  if (request.method !== "GET" || path === null) return;
  if (request.mode === "navigate" && path !== "" && path !== "index.html") return;
  event.respondWith((request.mode === "navigate" ? page(request) : file(request)).then(isolated));
});
