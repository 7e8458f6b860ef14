// On every page: keyboard shortcuts, help, copy buttons, local or UTC times. All of it is comfort; the
// page works without.

const KEYS_OFF = "countersign.keys";
const GO = { o: "/", e: "/events", t: "/tail", m: "/map", i: "/integrity", a: "/alerts" };
let armed = 0;

function keysAreOn() {
  return localStorage.getItem(KEYS_OFF) !== "off";
}

function inText(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") !== null;
}

function rows(step) {
  const links = [...document.querySelectorAll("table[data-rows] tbody tr a:first-of-type")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(0, at + step), links.length - 1)].focus();
}

function click(id) {
  const node = document.getElementById(id);
  if (node && !node.hidden) node.click();
}

function toggleUtc() {
  const local = document.documentElement.toggleAttribute("data-local");
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.dataset.utc ??= time.textContent;
    const stamp = new Date(time.dateTime);
    time.title = local ? time.dataset.utc : stamp.toString();
    time.textContent = local ? stamp.toLocaleString(undefined, { timeZoneName: "shortOffset" }) : time.dataset.utc;
  }
}

const ACTIONS = {
  "?": () => {
    const help = document.getElementById("help");
    help.open ? help.close() : help.showModal();
  },
  "/": () => document.getElementById("q")?.focus(),
  j: () => rows(1),
  k: () => rows(-1),
  u: toggleUtc,
  ".": () => click("tail-pause"),
  c: () => click("copy-command"),
  v: () => document.getElementById("proof")?.scrollIntoView(),
  "[": () => click("event-previous"),
  "]": () => click("event-next"),
  g: () => (armed = Date.now()),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && inText(event.target)) return event.target.blur();
  if (!keysAreOn() || inText(event.target)) return;
  if (Date.now() - armed < 1500 && GO[event.key]) {
    armed = 0;
    location.href = GO[event.key];
    return;
  }
  const act = ACTIONS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // No clipboard on plain HTTP away from loopback: select the text beside the button instead.
      const shown = button.parentElement.querySelector("code");
      if (shown) getSelection().selectAllChildren(shown);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

const keys = document.getElementById("keys-on");
if (keys) {
  keys.checked = keysAreOn();
  keys.addEventListener("change", () => localStorage.setItem(KEYS_OFF, keys.checked ? "on" : "off"));
}
const helpButton = document.getElementById("help-open");
if (helpButton) {
  helpButton.hidden = false;
  helpButton.addEventListener("click", ACTIONS["?"]);
}
