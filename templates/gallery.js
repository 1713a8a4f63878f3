// What the gallery can do besides when a browser runs scripts: a drop zone with progress, a lightbox, copying addresses,
// deleting with undo, replacing. Every page works without it. Text from outside only ever becomes text, never markup.
"use strict";

const AT_ONCE = 3;
const TRIES = 4;
const KINDS = "image/jpeg,image/png,image/gif,image/webp";
const gallery = new URL("/imagecrud/", location.href);
const addressOf = (name) => new URL(encodeURIComponent(name), gallery).href;

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** One request; what came back as `status`, `body` (JSON) and `location`. A status of 0 is a connection that failed. */
function once(method, address, { form, headers = {}, progress } = {}) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.onprogress = (event) => progress(event.loaded / (event.total || 1));
    request.onloadend = () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // A load balancer's own answer.
      }
      done({ status: request.status, body, location: request.getResponseHeader("Location") });
    };
    request.send(form);
  });
}

/** Sent again where a server is just being replaced; doing any of our requests twice is harmless. */
async function send(method, address, options) {
  for (let tries = 1; ; tries += 1) {
    const answer = await once(method, address, options);
    if (![0, 502, 503, 504].includes(answer.status) || tries === TRIES) return answer;
    await pause(2 ** tries * (150 + Math.random() * 200));
  }
}

function sentence({ status, body }) {
  if (body.error) return body.hint ? `${body.error} – ${body.hint}` : body.error;
  return status === 0 ? "the connection failed" : `the server answered ${status}`;
}

// --- one line at the foot, with at most one thing to do about it ---

const toast = make("section", { className: "toast", ariaLabel: "Message", hidden: true });
const toastText = make("p", { role: "status" });
toast.append(toastText);
document.body.append(toast);

function say(text, action, act) {
  toast.querySelectorAll("button").forEach((button) => button.remove());
  const close = make("button", { type: "button", textContent: "Close" });
  close.onclick = () => (toast.hidden = true);
  if (action) {
    const button = make("button", { type: "button", textContent: action });
    button.onclick = () => {
      toast.hidden = true;
      act();
    };
    toast.append(button);
  }
  toast.append(close);
  toast.hidden = false;
  toastText.textContent = text;
  if (action) toast.querySelector("button").focus();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS there is no clipboard; a selection can be copied anywhere.
    const field = make("textarea", { value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

// --- the grid ---

let grid = document.getElementById("grid");
const empty = document.getElementById("empty");
const tiles = () => (grid ? [...grid.children] : []);
const tileOf = (name) => tiles().find((tile) => tile.dataset.name === name);
const imageOf = (tile) => tile.querySelector("img");

function tile(picture) {
  const { thumbnail, name } = picture;
  const image = make("img", { src: thumbnail.url, width: thumbnail.width, height: thumbnail.height, alt: name });
  const text = make("p", { textContent: name, ariaHidden: "true" });
  return make("li", { dataset: { name } }, make("a", { href: encodeURIComponent(name) }, image), text);
}

/** Shows a new or changed picture where this page would have it. */
function show(picture) {
  const shown = tileOf(picture.name);
  if (shown) {
    const { url: src, width, height } = picture.thumbnail;
    Object.assign(imageOf(shown), { src, width, height });
    return;
  }
  if (!grid && empty && !new URLSearchParams(location.search).get("q")) {
    grid = make("ul", { className: "grid", id: "grid", dataset: { newest: "" } });
    grid.addEventListener("error", renew, true);
    grid.addEventListener("click", open);
    empty.replaceWith(grid);
  }
  if (grid && "newest" in grid.dataset) grid.prepend(tile(picture));
}

/** The addresses of bytes are signed for an hour; a page that stood open longer asks for a new one. */
async function renew(event) {
  const image = event.target;
  const name = image.closest("li")?.dataset.name;
  if (!name || "renewed" in image.dataset) return;
  image.dataset.renewed = "";
  const { status, body } = await send("GET", addressOf(name));
  if (status === 200) image.src = body.thumbnail.url;
}

async function remove(name) {
  const gone = tileOf(name);
  const { status, body, ...rest } = await send("DELETE", addressOf(name));
  if (status !== 200) return say(sentence({ status, body, ...rest }));
  const behind = gone?.nextSibling;
  gone?.remove();
  say(`${name} was deleted.`, "Undo", async () => {
    const answer = await send("POST", body.undo);
    if (answer.status !== 200) return say(sentence(answer));
    if (gone && grid) {
      grid.insertBefore(gone, behind?.parentNode === grid ? behind : null);
      gone.querySelector("a").focus();
    }
    say(`${name} is back.`);
  });
}

// --- uploads ---

let uploads;
let counts = { all: 0, done: 0, failed: 0 };
let running = 0;
const waiting = [];

function uploadList() {
  if (uploads?.isConnected) return uploads;
  counts = { all: 0, done: 0, failed: 0 };
  const close = make("button", { type: "button", className: "plain", textContent: "Close" });
  uploads = make("section", { className: "uploads", ariaLabel: "Uploads" });
  close.onclick = () => uploads.remove();
  uploads.append(make("header", {}, make("p", { role: "status" }), close), make("ul"));
  document.querySelector(".add").after(uploads);
  return uploads;
}

function tell() {
  const { all, done, failed } = counts;
  const text = done + failed < all ? `Uploading ${done + failed + 1} of ${all}` : `${done} of ${all} uploaded`;
  uploads.querySelector("p").textContent = failed ? `${text}, ${failed} failed` : text;
}

/** Queues a file; `name` and `replace` where somebody has decided. */
function enqueue(file, choice = {}, row = undefined) {
  const list = uploadList().querySelector("ul");
  if (!row) {
    row = make("li", {}, make("span", { className: "file", textContent: file.name }));
    list.append(row);
    counts.all += 1;
  }
  waiting.push({ file, choice, row });
  tell();
  work();
}

function work() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    upload(waiting.shift()).finally(() => {
      running -= 1;
      work();
    });
  }
}

function finish(row, state, text, ...choices) {
  while (row.children.length > 1) row.lastChild.remove();
  row.className = state;
  row.append(make("span", { className: "state", textContent: text }), ...choices);
  if (state in counts) counts[state] += 1;
  tell();
}

async function upload({ file, choice, row }) {
  const bar = make("progress", { max: 1, value: 0, ariaLabel: file.name });
  while (row.children.length > 1) row.lastChild.remove();
  row.className = "";
  row.append(bar);
  const form = new FormData();
  if (choice.name) form.append("name", choice.name);
  form.append("file", file, file.name);
  const progress = (part) => {
    // All sent, and nothing known of what the server makes of it.
    if (part < 1) bar.value = part;
    else bar.removeAttribute("value");
  };
  const answer = await send("POST", choice.replace ?? gallery, { form, progress });
  if (answer.status === 200) {
    finish(row, "done", answer.body.name === file.name ? "uploaded" : `uploaded as ${answer.body.name}`);
    show(answer.body);
    choice.then?.(answer.body);
  } else if (answer.status === 409 && answer.location && !choice.replace) {
    ask(file, row, decodeURIComponent(answer.location.split("/").pop()), choice);
  } else {
    finish(row, "failed", sentence(answer));
  }
}

/** Another picture has the name: only a person can decide. */
function ask(file, row, name, choice) {
  const again = (text, changed) => {
    const button = make("button", { type: "button", className: "plain", textContent: text });
    button.onclick = () => {
      counts.failed -= 1;
      enqueue(file, changed, row);
    };
    return button;
  };
  const number = (choice.number ?? 1) + 1;
  const base = choice.base ?? name;
  const choices = make(
    "p",
    { className: "choices" },
    again(`Replace ${name}`, { replace: addressOf(name) }),
    again("Keep both", { name: `${base}-${number}`, base, number }),
  );
  finish(row, "failed", `There is already another picture named ${name}.`, choices);
}

/** Every file of what was dropped, folders too. */
async function* filesOf(entries) {
  for (const entry of entries) {
    if (entry.isFile) {
      yield await new Promise((done, failed) => entry.file(done, failed));
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) break;
        yield* filesOf(some);
      }
    }
  }
}

async function dropped(transfer) {
  // Both must be taken now: the transfer is empty once this function waits.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const sources = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  for (const source of sources) {
    if (source instanceof File) {
      enqueue(source);
    } else if (source) {
      try {
        for await (const file of filesOf([source])) {
          // A folder holds other things as well; what was dropped by itself is refused with a reason.
          if (source.isFile || file.type.startsWith("image/")) enqueue(file);
        }
      } catch (error) {
        say(`${source.name} cannot be read: ${error.message}`);
      }
    }
  }
}

function dropZone(form) {
  const input = form.elements.file;
  input.multiple = true;
  const folder = make("input", { type: "file", hidden: true, webkitdirectory: true });
  const choose = make("button", { type: "button", className: "plain", textContent: "Choose a folder" });
  choose.onclick = () => folder.click();
  folder.onchange = () => {
    [...folder.files].filter((file) => file.type.startsWith("image/")).forEach((file) => enqueue(file));
    folder.value = "";
  };
  const hint = make("p", { className: "drop", textContent: "or drop them anywhere" });
  form.append(choose, folder);
  form.after(hint);
  // One name cannot be for many files.
  const named = form.elements.name;
  input.onchange = () => (named.disabled = input.files.length > 1);
  form.onsubmit = (event) => {
    event.preventDefault();
    const name = input.files.length === 1 ? named.value.trim() : "";
    [...input.files].forEach((file) => enqueue(file, name ? { name } : {}));
    form.reset();
    named.disabled = false;
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0;
  const dragging = (change) => {
    inside = change ? Math.max(0, inside + change) : 0;
    document.body.classList.toggle("dragging", inside > 0);
  };
  addEventListener("dragenter", (event) => carriesFiles(event) && dragging(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && dragging(-1));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    dragging(0);
    dropped(event.dataTransfer);
  });
}

// --- the lightbox ---

let box;

/** A click as such opens the lightbox; one that wants a new window, and every click without scripts, the picture's page. */
function open(event) {
  const link = event.target.closest("a");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  box ??= lightbox();
  box.look(link.closest("li"));
}

function lightbox() {
  const button = (text, act, more = {}) => {
    const made = make("button", { type: "button", textContent: text, ...more });
    made.onclick = act;
    return made;
  };
  let current;
  let asked = 0;
  const name = () => current.dataset.name;
  const neighbour = (step) => (step < 0 ? current.previousElementSibling : current.nextElementSibling);
  const facts = make("small");
  const title = make("span");
  const image = make("img", { alt: "" });
  const file = make("input", { type: "file", accept: KINDS, hidden: true });
  const copied = button("Copy address", async () => {
    await copy(addressOf(name()));
    copied.textContent = "Copied";
  });
  const previous = button("←", () => step(-1), { className: "step previous", ariaLabel: "Previous picture" });
  const following = button("→", () => step(1), { className: "step following", ariaLabel: "Next picture" });
  const tools = make(
    "div",
    { className: "tools" },
    copied,
    button("Open page", () => location.assign(addressOf(name()))),
    button("Replace", () => file.click()),
    button(
      "Delete",
      () => {
        const doomed = name();
        dialog.close();
        remove(doomed);
      },
      { className: "danger" },
    ),
    button("Close", () => dialog.close()),
    file,
  );
  const heading = make("h2", { id: "lightbox-title" }, title, facts);
  const stage = make("div", { className: "stage" }, image, previous, following);
  const dialog = make("dialog", { className: "lightbox" }, make("header", {}, heading, tools), stage);
  dialog.setAttribute("aria-labelledby", heading.id);
  document.body.append(dialog);

  async function look(tile) {
    current = tile;
    asked += 1;
    const question = asked;
    const small = imageOf(tile);
    title.textContent = name();
    facts.textContent = "";
    copied.textContent = "Copy address";
    // The thumbnail stands in until the picture is there.
    Object.assign(image, { src: small.currentSrc || small.src, alt: name() });
    previous.disabled = !neighbour(-1);
    following.disabled = !neighbour(1);
    if (!dialog.open) dialog.showModal();
    const answer = await send("GET", addressOf(name()));
    if (question !== asked) return;
    if (answer.status !== 200) {
      facts.textContent = sentence(answer);
      return;
    }
    const { url, width, height, bytes } = answer.body;
    facts.textContent = `${width} × ${height} · ${Math.ceil(bytes / 1000)} kB`;
    const whole = make("img", { src: url });
    await whole.decode().catch(() => {});
    if (question === asked) Object.assign(image, { src: url, width, height });
  }
  function step(by) {
    const tile = neighbour(by);
    if (!tile) return;
    look(tile);
    // A button that has just been disabled would lose the keyboard.
    if (document.activeElement === document.body || document.activeElement.disabled) copied.focus();
  }
  file.onchange = () => {
    const tile = current;
    const then = () => dialog.open && current === tile && look(tile);
    if (file.files.length) enqueue(file.files[0], { replace: addressOf(name()), then });
    file.value = "";
  };
  dialog.onkeydown = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
  };
  dialog.onclose = () => current?.isConnected && current.querySelector("a").focus();
  return { look };
}

// --- which page is this? ---

const uploadForm = document.getElementById("upload");
if (uploadForm) dropZone(uploadForm);
if (grid) {
  grid.addEventListener("error", renew, true);
  grid.addEventListener("click", open);
}
const photo = document.getElementById("photo");
if (photo) {
  const button = make("button", { type: "button", className: "plain", textContent: "Copy address" });
  button.onclick = async () => {
    await copy(addressOf(photo.dataset.name));
    button.textContent = "Copied";
  };
  document.getElementById("replace").after(button);
  addEventListener("keydown", (event) => {
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (!rel || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select")) return;
    document.querySelector(`.pages [rel=${rel}]`)?.click();
  });
}
