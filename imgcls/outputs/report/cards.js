// What the pages of predict and eval share: words, elements, names to copy, and a list of which only the cards near the
// screen exist.
const OVERSCAN_PX = 600;
const $ = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en");
const plural = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
// Control and direction characters would let a name pass for another one.
const visible = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) =>
  ({"\n": "\\n", "\r": "\\r", "\t": "\\t"})[char] ?? `\\u{${char.codePointAt(0).toString(16)}}`);
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

// Cards in view, each at its place in a list as long as all of them.
//   shown()               the records, in order
//   narrowest(width, gap) the least width of a card, in pixels, for a list of that width
//   height()              of a card, in pixels
//   draw(record)          a card
const cardList = ({shown, narrowest, height, draw}) => {
  const list = $("images"), cards = new Map();
  const place = () => {
    const gap = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gap"));
    const width = list.clientWidth, columns = Math.max(1, Math.floor((width + gap) / (narrowest(width, gap) + gap)));
    const cardWidth = (width - gap * (columns - 1)) / columns, pitch = height() + gap, count = shown().length;
    list.style.height = `${Math.max(0, Math.ceil(count / columns) * pitch - gap)}px`;
    const above = -list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((above - OVERSCAN_PX) / pitch)) * columns;
    const last = Math.min(count, Math.max(0, Math.ceil((above + innerHeight + OVERSCAN_PX) / pitch)) * columns);
    for (const [position, card] of cards) {
      // The card that has the keyboard's attention stays, wherever the page is scrolled.
      if ((position < first || position >= last) && !card.contains(document.activeElement)) {
        card.remove();
        cards.delete(position);
      }
    }
    for (let position = first; position < last; position++) if (!cards.has(position)) cards.set(position, draw(shown()[position]));
    let next = list.firstElementChild;
    for (const position of [...cards.keys()].sort((a, b) => a - b)) {
      const card = cards.get(position);
      card.style.width = `${cardWidth}px`;
      card.style.transform = `translate(${(position % columns) * (cardWidth + gap)}px, ${Math.floor(position / columns) * pitch}px)`;
      card.setAttribute("aria-posinset", position + 1);
      card.setAttribute("aria-setsize", count);
      if (card === next) next = next.nextElementSibling;
      else list.insertBefore(card, next);
    }
  };
  const clear = () => { cards.clear(); list.replaceChildren(); };
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; place(); });
  };
  addEventListener("scroll", soon, {passive: true});
  addEventListener("resize", soon);
  new ResizeObserver(soon).observe(list);
  return {place, clear};
};

// The names of the images that are shown, a line each, to the clipboard.
const copyNames = async (names) => {
  const text = names.join("\n") + "\n";
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where a page from a file may not use the clipboard, a selection may still be copied.
    const area = make("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  $("copy").textContent = done ? `Copied ${plural(names.length, "name", "names")}` : "Copying is not allowed here";
  setTimeout(() => { $("copy").textContent = "Copy names"; }, 2000);
};
