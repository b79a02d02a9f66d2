// The dispatch desk. Everything that leaves the island goes through Keyreeve, with a token that the
// team's backend gives to this page for ten minutes. The token is kept in memory and nowhere else.

const byId = (id) => document.getElementById(id);
const TIMEOUT_MS = 15_000;

// --- The session ------------------------------------------------------------------------------

// A new token is asked for when the old one has this little left.
const SPARE_MS = 30_000;
let session = null;
let asked = null;

/** The token in use; a fresh one if there is none, or if it is nearly over. Asked for once. */
async function currentSession() {
  if (session && Date.parse(session.expires_at) - Date.now() > SPARE_MS) return session;
  asked ??= newSession().finally(() => { asked = null; });
  return asked;
}

async function newSession() {
  let answer;
  try {
    answer = await fetch("/session", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw sessionTrouble("The backend of this page does not answer.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw sessionTrouble(`${said.error ?? "The backend gave no token"}.`);
  session = said;
  tell(byId("session-trouble"), null);
  showSession();
  return session;
}

function sessionTrouble(text) {
  tell(byId("session-trouble"), text);
  return new Error(text);
}

function showSession() {
  if (!session) return;
  byId("token").textContent = `${session.token.slice(0, 8)}…`;
  const left = Math.max(0, Math.round((Date.parse(session.expires_at) - Date.now()) / 1000));
  const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  byId("token-life").textContent = left > 0 ? `good for ${clock}` : "over; the next call gets another";
}
setInterval(showSession, 1000);

// --- Calls ------------------------------------------------------------------------------------

const SERVICES = { maps: "map service", sms: "SMS service" };
const counts = { maps: 0, sms: 0 };

/** Calls an outside service through Keyreeve. Throws an error with words for people. */
async function call(connection, path, options = {}) {
  const first = await currentSession();
  let answer = await send(first, connection, path, options);
  if (answer.status === 401 && isFromKeyreeve(answer)) {
    // The token was ended early. Whoever notices first asks for another.
    if (session === first) session = null;
    answer = await send(await currentSession(), connection, path, options);
  }
  if (!answer.ok) throw new Error(await whatWentWrong(connection, answer));
  return answer;
}

async function send({ keyreeve, token }, connection, path, options) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const began = performance.now();
  const note = (status) => {
    noteCall(connection, options.method ?? "GET", path, status, performance.now() - began);
  };
  try {
    const answer = await fetch(`${keyreeve}/proxy/${connection}${path}`, {
      ...options,
      credentials: "omit",
      headers: { ...options.headers, "X-Keyreeve-Key": token },
      signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
    });
    note(answer.status);
    return answer;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    note(0);
    throw new Error("Keyreeve does not answer.", { cause: error });
  }
}

/** Keyreeve's own refusals are problems; what these services say is plain JSON. */
function isFromKeyreeve(answer) {
  return (answer.headers.get("Content-Type") ?? "").startsWith("application/problem+json");
}

async function whatWentWrong(connection, answer) {
  const said = await answer.json().catch(() => ({}));
  const service = `The ${SERVICES[connection]}`;
  if (isFromKeyreeve(answer)) {
    return `Keyreeve did not pass this on (${answer.status}): ${said.detail ?? said.title}.`;
  }
  if (answer.status === 401 || answer.status === 403) {
    return `${service} refuses the key that Keyreeve holds for it (${answer.status}).`;
  }
  return `${service} answered ${answer.status}: ${said.error ?? "it did not say why"}.`;
}

function noteCall(connection, method, path, status, took) {
  const good = status >= 200 && status < 300;
  // What is wrong with the request is no fault of the key or of the service.
  const works = status > 0 && status < 500 && status !== 401 && status !== 403;
  const service = document.querySelector(`[data-service="${connection}"]`);
  counts[connection] += 1;
  service.dataset.state = works ? "good" : "bad";
  const times = counts[connection] === 1 ? "1 call" : `${counts[connection]} calls`;
  service.querySelector("[data-calls]").textContent = `${times} · last ${status || "unanswered"}`;

  // Tiles come by the dozen: those that ended alike share a line.
  const shown = path.replace(/\/\d+\/\d+\/\d+\.svg.*/, "/…");
  const what = `${method} ${connection}${shown}`;
  const list = byId("calls");
  const latest = list.firstElementChild;
  if (latest?.dataset.what === `${status} ${what}`) {
    latest.dataset.times = Number(latest.dataset.times) + 1;
    latest.lastElementChild.textContent = `× ${latest.dataset.times}`;
    return;
  }
  const line = document.createElement("li");
  Object.assign(line.dataset, { what: `${status} ${what}`, times: 1, state: good ? "good" : "bad" });
  const parts = [["b", status || "—"], ["span", what], ["small", `${Math.round(took)} ms`]];
  for (const [kind, text] of parts) {
    line.append(Object.assign(document.createElement(kind), { textContent: text }));
  }
  list.prepend(line);
  while (list.children.length > 50) list.lastElementChild.remove();
}

/** Shows trouble, or takes it away. */
function tell(box, text) {
  box.hidden = !text;
  box.querySelector("p").textContent = text ?? "";
}

function result(box, state, text) {
  box.dataset.state = state;
  box.textContent = text;
}

// --- The map ----------------------------------------------------------------------------------

const TILE = 256;
const [FAR, NEAR] = [13, 17];
const MIDDLE = { u: 0.5, v: 0.5, zoom: 15 };
const EQUATOR_M = 40_075_016.686;
// As many as a browser has connections to one host; the rest waits where it can still be dropped. If
// the token was ended, no more than these are sent with it: too many bad ones lock an address out.
const AT_ONCE = 6;

const map = byId("map");
const dark = matchMedia("(prefers-color-scheme: dark)");
// Where we look, as shares of the whole world's width and height.
let view = { ...MIDDLE };
let pin = null;
let layers = new Map();
let waiting = [];
let loading = 0;

function layerOf(zoom, column, row) {
  let layer = layers.get(zoom);
  if (!layer) {
    const element = Object.assign(document.createElement("div"), { className: "layer" });
    byId("layers").append(element);
    layer = { element, column, row, tiles: new Map() };
    layers.set(zoom, layer);
  }
  return layer;
}

function draw() {
  const { clientWidth: width, clientHeight: height } = map;
  const world = TILE * 2 ** view.zoom;
  const left = Math.round(view.u * world - width / 2);
  const top = Math.round(view.v * world - height / 2);
  const [column, row] = [Math.floor(left / TILE), Math.floor(top / TILE)];
  const layer = layerOf(view.zoom, column, row);
  // Layers of other zooms stay below until this one is whole.
  byId("layers").append(layer.element);
  for (const [zoom, other] of layers) {
    const factor = 2 ** (view.zoom - zoom);
    const [x, y] = [other.column * TILE * factor - left, other.row * TILE * factor - top];
    other.element.style.transform = `translate(${x}px, ${y}px) scale(${factor})`;
  }
  const wanted = new Set();
  for (let y = row; y * TILE < top + height; y += 1) {
    for (let x = column; x * TILE < left + width; x += 1) wanted.add(`${x}/${y}`);
  }
  for (const [name, tile] of layer.tiles) if (!wanted.has(name)) drop(layer, name, tile);
  for (const name of wanted) if (!layer.tiles.has(name)) want(layer, name);
  const middle = [(left + width / 2) / TILE - 0.5, (top + height / 2) / TILE - 0.5];
  const far = ({ x, y }) => Math.hypot(x - middle[0], y - middle[1]);
  waiting.sort((one, other) => far(one) - far(other));
  drawPin(world, left, top);
  drawScale(world);
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const next = view.zoom + Number(button.dataset.zoom);
    button.disabled = next < FAR || next > NEAR;
  }
  load();
}

function want(layer, name) {
  const [x, y] = name.split("/").map(Number);
  const image = Object.assign(document.createElement("img"), { alt: "", draggable: false });
  image.style.left = `${(x - layer.column) * TILE}px`;
  image.style.top = `${(y - layer.row) * TILE}px`;
  const tile = { x, y, zoom: view.zoom, image, stop: new AbortController(), state: "waiting" };
  layer.tiles.set(name, tile);
  layer.element.append(image);
  waiting.push(tile);
}

function drop(layer, name, tile) {
  tile.stop.abort();
  tile.image.remove();
  layer.tiles.delete(name);
}

function dropAll() {
  for (const layer of layers.values()) {
    for (const [name, tile] of layer.tiles) drop(layer, name, tile);
    layer.element.remove();
  }
  layers = new Map();
}

/** Loads what is waited for, some at a time, and says how far the map is. */
function load() {
  waiting = waiting.filter((tile) => !tile.stop.signal.aborted);
  while (loading < AT_ONCE && waiting.length > 0) {
    loading += 1;
    loadTile(waiting.shift()).finally(() => {
      loading -= 1;
      load();
    });
  }
  const drawn = layers.get(view.zoom);
  // Zoomed, and not drawn yet: drawing gets here again.
  if (!drawn) return;
  const tiles = [...drawn.tiles.values()];
  const open = tiles.some(({ state }) => state === "waiting");
  const failed = tiles.some(({ state }) => state === "failed");
  map.dataset.state = failed ? "failed" : open ? "loading" : "ready";
  if (map.dataset.state === "ready") {
    tell(byId("map-trouble"), null);
    for (const [zoom, layer] of layers) {
      if (zoom === view.zoom) continue;
      for (const [name, tile] of layer.tiles) drop(layer, name, tile);
      layer.element.remove();
      layers.delete(zoom);
    }
  }
}

/** An image cannot send the token's header, so the tile is fetched and shown from memory. */
async function loadTile(tile) {
  try {
    const style = dark.matches ? "dark" : "light";
    const path = `/v1/tiles/${tile.zoom}/${tile.x}/${tile.y}.svg?style=${style}`;
    const answer = await call("maps", path, { signal: tile.stop.signal });
    const place = URL.createObjectURL(await answer.blob());
    try {
      tile.image.src = place;
      await tile.image.decode();
    } finally {
      URL.revokeObjectURL(place);
    }
    tile.image.className = "shown";
    tile.state = "shown";
  } catch (error) {
    if (tile.stop.signal.aborted) return;
    tile.image.className = "failed";
    tile.image.removeAttribute("src");
    tile.state = "failed";
    tell(byId("map-trouble"), error.message);
  }
}

function drawPin(world, left, top) {
  byId("pin").hidden = !pin;
  if (!pin) return;
  byId("pin-name").textContent = pin.name;
  const [x, y] = [Math.round(pin.u * world) - left, Math.round(pin.v * world) - top];
  byId("pin").style.transform = `translate(${x}px, ${y}px)`;
}

function drawScale(world) {
  const pixel = EQUATOR_M / world;
  const metres = [2000, 1000, 500, 200, 100, 50].find((length) => length / pixel <= 110) ?? 50;
  byId("scale-bar").style.width = `${Math.round(metres / pixel)}px`;
  byId("scale-text").textContent = metres < 1000 ? `${metres} m` : `${metres / 1000} km`;
}

let planned = false;
function look(change) {
  view = { ...view, ...change };
  // The island is small: nobody gets lost at sea.
  view.u = Math.min(0.50012, Math.max(0.49988, view.u));
  view.v = Math.min(0.50012, Math.max(0.49988, view.v));
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    draw();
  });
}

function move(x, y) {
  const world = TILE * 2 ** view.zoom;
  look({ u: view.u + x / world, v: view.v + y / world });
}

/** Zooms in or out, and what is at this place of the map stays there. */
function zoomBy(step, x = map.clientWidth / 2, y = map.clientHeight / 2) {
  const zoom = Math.min(NEAR, Math.max(FAR, view.zoom + step));
  const [dx, dy] = [x - map.clientWidth / 2, y - map.clientHeight / 2];
  const shift = 1 / (TILE * 2 ** view.zoom) - 1 / (TILE * 2 ** zoom);
  look({ zoom, u: view.u + dx * shift, v: view.v + dy * shift });
}

for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => zoomBy(Number(button.dataset.zoom)));
}
for (const button of document.querySelectorAll("[data-move]")) {
  button.addEventListener("click", () => {
    const [x, y] = button.dataset.move.split(",").map(Number);
    if (x === 0 && y === 0) look(MIDDLE);
    else move(x * map.clientWidth * 0.35, y * map.clientHeight * 0.35);
  });
}
const KEYS = {
  ArrowUp: () => move(0, -90),
  ArrowDown: () => move(0, 90),
  ArrowLeft: () => move(-90, 0),
  ArrowRight: () => move(90, 0),
  "+": () => zoomBy(1),
  "=": () => zoomBy(1),
  "-": () => zoomBy(-1),
};
map.addEventListener("keydown", (event) => {
  const action = KEYS[event.key];
  if (event.target !== map || !action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
});
map.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || event.target.closest("button, .trouble")) return;
  map.setPointerCapture(event.pointerId);
  map.classList.add("dragged");
});
map.addEventListener("pointermove", (event) => {
  if (map.hasPointerCapture(event.pointerId)) move(-event.movementX, -event.movementY);
});
map.addEventListener("lostpointercapture", () => map.classList.remove("dragged"));
map.addEventListener("dblclick", (event) => {
  if (!event.target.closest("button")) zoomBy(1, ...within(event));
});
let wheeled = 0;
map.addEventListener("wheel", (event) => {
  event.preventDefault();
  // A wheel's click is one step, and so is a flick on a touch pad.
  if (event.timeStamp - wheeled < 180 || event.deltaY === 0) return;
  wheeled = event.timeStamp;
  zoomBy(event.deltaY < 0 ? 1 : -1, ...within(event));
}, { passive: false });

function within(event) {
  const box = map.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function drawAnew() {
  dropAll();
  draw();
}
dark.addEventListener("change", drawAnew);
byId("map-again").addEventListener("click", () => {
  tell(byId("map-trouble"), null);
  drawAnew();
});
new ResizeObserver(() => look({})).observe(map);

// --- An address -------------------------------------------------------------------------------

/** Does something once at a time, with its button as a sign of it. */
function onSubmit(form, action) {
  const button = form.querySelector('[type="submit"]');
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await action();
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

onSubmit(byId("where"), async () => {
  const box = byId("found");
  try {
    const query = new URLSearchParams({ q: byId("address").value.trim() });
    const { results } = await (await call("maps", `/v1/geocode?${query}`)).json();
    if (results.length === 0) {
      result(box, "bad", "There is no such address on the island.");
      return;
    }
    const [{ address, lat, lng }] = results;
    pin = { ...shares(lat, lng), name: address.split(",")[0] };
    look({ u: pin.u, v: pin.v, zoom: Math.max(view.zoom, 16) });
    result(box, "good", `${pin.name} · ${degrees(lat, "N", "S")}, ${degrees(lng, "E", "W")}`);
    suggest(pin.name);
  } catch (error) {
    result(box, "bad", error.message);
  }
});

function degrees(value, above, below) {
  return `${Math.abs(value).toFixed(4)}°\u00a0${value < 0 ? below : above}`;
}

/** From latitude and longitude to shares of the world's width and height (Web Mercator). */
function shares(lat, lng) {
  const bent = Math.asinh(Math.tan((lat * Math.PI) / 180));
  return { u: lng / 360 + 0.5, v: 0.5 - bent / (2 * Math.PI) };
}

for (const chip of document.querySelectorAll("[data-address]")) {
  chip.addEventListener("click", () => {
    byId("address").value = chip.dataset.address;
    byId("where").requestSubmit();
  });
}

// --- A message --------------------------------------------------------------------------------

const text = byId("text");
let suggested = "";

/** Proposes a text, unless somebody wrote one. */
function suggest(place) {
  if (text.value !== suggested) return;
  suggested = `Your parcel is out for delivery to ${place}. Reply HOLD to collect it at Port Null.`;
  text.value = suggested;
  showParts();
}

/** What an SMS holds: 160 of the usual letters, or 70 if there is one other. */
function showParts() {
  const usual = /^[\n\r !-Z_a-z£¥èéùìòÇØøÅåÆæßÉÄÖÑÜ§¿äöñüà¡]*$/.test(text.value);
  const [one, each] = usual ? [160, 153] : [70, 67];
  const length = text.value.length;
  const parts = length <= one ? 1 : Math.ceil(length / each);
  byId("parts").textContent = `${length} characters, ${parts} SMS`;
}
text.addEventListener("input", showParts);

onSubmit(byId("tell"), async () => {
  const box = byId("receipt");
  const to = byId("number").value.replaceAll(" ", "");
  try {
    const answer = await call("sms", "/v1/messages", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ to, text: text.value }),
    });
    const { id, status } = await answer.json();
    result(box, "good", `To ${to}: ${status}, as ${id}.`);
  } catch (error) {
    result(box, "bad", error.message);
  }
});

suggest("120 Float Street");
draw();
