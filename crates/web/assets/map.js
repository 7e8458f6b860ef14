// Pan and zoom of the service map by its viewBox, and its refresh. Everything here has a twin without
// a pointer: the arrow keys, the buttons, and the table below the picture.
import { keepFresh } from "./fragment.js";

const ZOOM = 1.25;
const STEP = 80;
let box = null;

function wire() {
  const svg = document.getElementById("map-picture");
  if (!svg) return;
  const home = svg.getAttribute("viewBox").split(" ").map(Number);
  box ??= home.slice();
  const apply = () => svg.setAttribute("viewBox", box.join(" "));
  const zoom = (factor) => {
    const [x, y, w, h] = box;
    const width = Math.min(Math.max(w * factor, 200), home[2] * 4);
    const height = (width * h) / w;
    box = [x + (w - width) / 2, y + (h - height) / 2, width, height];
    apply();
  };
  const pan = (dx, dy) => {
    box[0] += dx;
    box[1] += dy;
    apply();
  };
  const button = (id, act) => {
    const node = document.getElementById(id);
    if (!node) return;
    node.hidden = false;
    node.onclick = act;
  };
  button("map-in", () => zoom(1 / ZOOM));
  button("map-out", () => zoom(ZOOM));
  button("map-home", () => {
    box = home.slice();
    apply();
  });
  svg.onkeydown = (event) => {
    const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (move && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      pan(...move);
    }
  };
  let drag = null;
  svg.onpointerdown = (event) => {
    if (event.button === 0 && !event.target.closest("a")) drag = [event.clientX, event.clientY];
  };
  svg.onpointermove = (event) => {
    if (!drag) return;
    const scale = box[2] / svg.clientWidth;
    pan((drag[0] - event.clientX) * scale, (drag[1] - event.clientY) * scale);
    drag = [event.clientX, event.clientY];
  };
  svg.onpointerup = svg.onpointerleave = () => (drag = null);
  apply();
}

wire();
keepFresh("map-live", 5, wire);
