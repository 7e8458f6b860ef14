// Fetches a page again and adopts one of its regions, without parsing markup in script:
// XMLHttpRequest's document parser runs no script and is no Trusted Types sink.

/** Replaces the element with id `id` by the same element of `url`; keeps focus inside the region. */
export function refresh(url, id) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 10000;
    request.setRequestHeader("X-Countersign-Refresh", "1");
    request.onload = () => {
      const fresh = request.status === 200 && request.response?.getElementById(id);
      const old = document.getElementById(id);
      if (!fresh || !old) return reject(new Error(`answer ${request.status}`));
      const focused = old.contains(document.activeElement) ? document.activeElement.id : null;
      const node = document.adoptNode(fresh);
      old.replaceWith(node);
      if (focused) document.getElementById(focused)?.focus();
      else if (focused !== null) node.querySelector("h2")?.focus();
      resolve(node);
    };
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

/** Refreshes `id` every `seconds` while the page is visible; says so when it cannot. */
export function keepFresh(id, seconds, after = () => {}) {
  const notice = document.getElementById("refresh-state");
  setInterval(async () => {
    if (document.hidden || document.getElementById(id)?.contains(document.activeElement)) return;
    try {
      after(await refresh(location.href, id));
      if (notice) notice.textContent = "";
    } catch (error) {
      if (notice) notice.textContent = `not refreshed: ${error.message}; the figures above may be old`;
    }
  }, seconds * 1000);
}
