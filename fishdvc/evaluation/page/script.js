"use strict";

const find = (selector, inside = document) => inside.querySelector(selector);
const findAll = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const listen = (selector, type, handler) =>
  findAll(selector).forEach((element) => element.addEventListener(type, handler));

// One sound for the whole page: a new clip stops the last one.
const sound = new Audio();
sound.preload = "none";
let onEnd = null;
let onStop = null;

function play(path, { stopped, ended } = {}) {
  stop();
  sound.src = path;
  onStop = stopped;
  onEnd = ended;
  find("#message").textContent = "";
  sound.play().catch((error) => {
    // A clip that is stopped while it loads raises AbortError.
    if (error.name !== "AbortError") {
      find("#message").textContent = `${decodeURI(path)} cannot be played. Check that this file is in the folder of this page.`;
      stop();
    }
  });
}

function stop() {
  sound.pause();
  const stopped = onStop;
  onStop = onEnd = null;
  stopped?.();
}

sound.addEventListener("ended", () => {
  const ended = onEnd;
  stop();
  ended?.();
});

// Players
function playCard(button, share = 0) {
  const card = button.closest(".clip");
  const head = find(".playhead", card);
  const time = find(".time", card);
  const show = () => {
    if (button.ariaPressed !== "true") return;
    const length = sound.duration || 0;
    if (length) {
      head.style.left = `${(100 * sound.currentTime) / length}%`;
      time.textContent = `${sound.currentTime.toFixed(1)} / ${length.toFixed(1)} s`;
    }
    requestAnimationFrame(show);
  };
  play(button.dataset.audio, {
    stopped: () => {
      button.ariaPressed = "false";
      head.hidden = true;
    },
  });
  if (share) {
    sound.addEventListener("loadedmetadata", () => (sound.currentTime = share * sound.duration), { once: true });
  }
  button.ariaPressed = "true";
  head.hidden = false;
  show();
}

listen(".play", "click", ({ currentTarget: button }) =>
  button.ariaPressed === "true" ? stop() : playCard(button));
listen(".picture", "click", ({ currentTarget: picture, clientX }) => {
  const { left, width } = picture.getBoundingClientRect();
  playCard(find(".play", picture.closest(".clip")), (clientX - left) / width);
});

// Table
function sortBy(button) {
  const header = button.closest("th");
  const first = button.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.ariaSort === first ? other : first;
  findAll(".checkpoints thead th").forEach((cell) => cell.removeAttribute("aria-sort"));
  header.ariaSort = order;
  const column = Number(button.dataset.column);
  const value = (row) => Number(column ? row.children[column].dataset.value : row.dataset.step);
  const body = find(".checkpoints .sorted");
  const sign = order === "ascending" ? 1 : -1;
  // Values that were not measured are last in both orders.
  const compare = (a, b) => isNaN(a) - isNaN(b) || sign * (a - b) || 0;
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
}

listen(".checkpoints thead button", "click", ({ currentTarget }) => sortBy(currentTarget));

// Which rows have players
const boxes = findAll(".filter input");

function showRows() {
  const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  findAll("article .clip").forEach((card) => (card.hidden = !shown.has(card.dataset.row)));
}

listen(".filter input", "change", showRows);
listen(".filter button", "click", ({ currentTarget }) => {
  const all = currentTarget.dataset.show === "all";
  boxes.forEach((box) => (box.checked = all || box.defaultChecked));
  showRows();
});
// A browser may restore the boxes of an earlier visit.
showRows();

// Blind test
const dialog = find("#blind");
const panel = find(".panel", dialog);
const message = find(".message", dialog);
const hearButtons = findAll(".hear", dialog);
const votes = [];
let saved = true;
let pairs = [];
let pair = null;
const answered = new Set();

function shuffle(list) {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}

// Pairs that were not answered yet, of the base and the checkpoints that are shown. Rows that the
// rule cannot separate come first, shown or not.
function makePairs() {
  const all = [];
  for (const article of findAll("article")) {
    const cards = findAll(".clip.base, .clip.checkpoint", article).filter(
      (card) => !card.hidden || card.matches(".compare"));
    cards.forEach((card, index) => cards.slice(0, index).forEach((other) => all.push({
      article,
      cards: shuffle([card, other]),
      key: [article.dataset.sentence, other.dataset.row, card.dataset.row].join("\n"),
      first: card.matches(".compare") && other.matches(".compare"),
    })));
  }
  if (all.every(({ key }) => answered.has(key))) answered.clear();
  return shuffle(all.filter(({ key }) => !answered.has(key))).sort((a, b) => b.first - a.first);
}

function openBlind() {
  pairs = makePairs();
  stop();
  dialog.showModal();
  ask();
}

function ask() {
  stop();
  pair = pairs.shift();
  if (!pair) return finish();
  find(".asking", dialog).hidden = false;
  find(".result", dialog).hidden = true;
  find(".progress", dialog).textContent = `${votes.length} ${votes.length === 1 ? "vote" : "votes"}, ${pairs.length + 1} pairs left`;
  find(".sentence", dialog).textContent = find(".sentence", pair.article).textContent;
  hearButtons.forEach((button) => button.classList.remove("heard"));
  message.textContent = "";
  panel.focus();
}

function hear(clip, ended) {
  const button = hearButtons[clip];
  play(find(".play", pair.cards[clip]).dataset.audio, {
    stopped: () => button.classList.remove("playing"),
    ended,
  });
  button.classList.add("playing", "heard");
}

const hearBoth = () => hear(0, () => hear(1));

function choose(clip) {
  if (!hearButtons.every((button) => button.classList.contains("heard"))) {
    message.textContent = "Listen to both clips first.";
    return;
  }
  const [row_a, row_b] = pair.cards.map((card) => card.dataset.row);
  const [audio_a, audio_b] = pair.cards.map((card) => card.dataset.audioHash);
  votes.push({ sentence: pair.article.dataset.sentence, row_a, row_b, audio_a, audio_b, winner: [row_a, row_b][clip] });
  saved = false;
  next();
  if (pair) hearBoth();
}

function next() {
  answered.add(pair.key);
  ask();
}

function finish() {
  stop();
  if (pair) pairs.unshift(pair);
  pair = null;
  find(".asking", dialog).hidden = true;
  find(".result", dialog).hidden = false;
  find(".more", dialog).hidden = !pairs.length;
  find(".export", dialog).hidden = !votes.length;
  find(".summary", dialog).textContent = votes.length ? "How often each was better:" : "There are no votes yet. Show at least two rows to compare.";
  const results = boxes
    .map((box) => {
      const heard = votes.filter((vote) => [vote.row_a, vote.row_b].includes(box.value));
      const wins = heard.filter((vote) => vote.winner === box.value).length;
      return { label: box.nextElementSibling.textContent, wins, heard: heard.length };
    })
    .filter((result) => result.heard)
    .sort((a, b) => b.wins / b.heard - a.wins / a.heard);
  find(".result ul", dialog).replaceChildren(...results.map(({ label, wins, heard }) => {
    const item = document.createElement("li");
    item.textContent = `${label}: ${wins} of ${heard}`;
    return item;
  }));
  panel.focus();
}

function exportVotes() {
  const text = JSON.stringify({ version: 2, votes }, null, 2) + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "votes.json";
  link.click();
  URL.revokeObjectURL(link.href);
  saved = true;
  message.textContent = "Set evaluate.listening_votes to this file and run dvc repro.";
}

listen(".open-blind", "click", openBlind);
listen(".hear", "click", ({ currentTarget }) => hear(Number(currentTarget.dataset.clip)));
listen(".choose", "click", ({ currentTarget }) => choose(Number(currentTarget.dataset.clip)));
listen(".both", "click", hearBoth);
listen(".next", "click", next);
listen(".finish", "click", finish);
listen(".more", "click", ask);
listen(".export", "click", exportVotes);
listen(".close", "click", () => dialog.close());
dialog.addEventListener("close", stop);
dialog.addEventListener("keydown", (event) => {
  if (!pair || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "1" || event.key === "2") choose(Number(event.key) - 1);
  // On a button that was reached with Tab, the space bar presses that button.
  if (event.key === " " && !event.target.closest("button")) {
    event.preventDefault();
    hearBoth();
  }
});
// After a click the space bar plays again instead of pressing the same button.
listen("#blind .asking button", "click", () => panel.focus());
addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});
