// markdown.js -- the documentation's Markdown as elements: headings, paragraphs, lists, tables,
// code, links.
//
// It knows only the syntax that docs/ uses. It creates elements one by one, so text stays text.

import { paint } from "./source.js";

function element(name, className = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}

// The name by which a heading is linked to.
export function anchorOf(heading) {
  return heading.toLowerCase().replace(/`/g, "").replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/ /g, "-");
}

const INLINE = new RegExp([
  /`(?<code>[^`]+)`/,
  /\[(?<text>(?:[^\]`]|`[^`]*`)+)\]\((?<target>[^)\s]+)\)/,
  /\*\*(?<strong>.+?)\*\*/,
  /\*(?<em>[^*\s][^*]*)\*/,
].map((part) => part.source).join("|"));

// Adds text with code, links and emphasis in it. `link` makes an address of what is linked to, or
// nothing.
function addInline(parent, text, link) {
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    const { code, text: linked, target, strong, em } = found.groups;
    parent.append(rest.slice(0, found.index));
    rest = rest.slice(found.index + found[0].length);
    const address = target && link(target);
    const child = element(code ? "code" : strong ? "strong" : em ? "em" : address ? "a" : "span");
    if (address) child.href = address;
    if (code) child.textContent = code;
    else addInline(child, linked ?? strong ?? em, link);
    parent.append(child);
  }
  parent.append(rest);
}

function makeCode(lines, language) {
  const block = element("pre");
  block.tabIndex = 0;
  const code = element("code");
  lines.forEach((line, index) => {
    if (language === "lua") paint(code, line);
    else code.append(line);
    if (index + 1 < lines.length) code.append("\n");
  });
  block.append(code);
  return block;
}

// The cells of "| a | `b|c` |".
function cellsOf(line) {
  const cells = line.trim().replace(/^\||\|$/g, "")
    .match(/(?:`[^`]*`|\\.|[^|`\\])+|(?<=\|)(?=\|)/g) ?? [""];
  return cells.map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

function makeTable(lines, link) {
  const [head, , ...rows] = lines.map(cellsOf);
  const table = element("table");
  const row = (section, cells, kind) => {
    const line = section.insertRow();
    for (const cell of cells) {
      const made = element(kind);
      addInline(made, cell, link);
      line.append(made);
    }
  };
  if (head.some((cell) => cell !== "")) row(table.createTHead(), head, "th");
  const body = table.createTBody();
  for (const cells of rows) row(body, cells, "td");
  const frame = element("div", "table");
  frame.tabIndex = 0;
  frame.role = "region";
  frame.ariaLabel = "Table";
  frame.append(table);
  return frame;
}

const ITEM = /^(?:\*|\d+\.) +(.*)$/;

// Elements for a text of Markdown.
export function render(text, link) {
  const lines = text.split("\n");
  const made = [];
  let at = 0;

  // The lines from here on for which it holds.
  const take = (holds) => {
    const first = at;
    while (at < lines.length && holds(lines[at], at - first)) at += 1;
    return lines.slice(first, at);
  };

  while (at < lines.length) {
    const line = lines[at];
    const heading = /^(#{1,4}) (.*)$/.exec(line);
    if (line.trim() === "") {
      at += 1;
    } else if (heading) {
      const child = element(`h${heading[1].length}`);
      child.id = anchorOf(heading[2]);
      addInline(child, heading[2], link);
      made.push(child);
      at += 1;
    } else if (line.startsWith("```")) {
      at += 1;
      made.push(makeCode(take((next) => !next.startsWith("```")), line.slice(3)));
      at += 1;
    } else if (line.startsWith("    ")) {
      const code = take((next) => next.startsWith("    ") || next.trim() === "")
        .map((next) => next.slice(4));
      while (code.at(-1) === "") code.pop();
      made.push(makeCode(code, ""));
    } else if (line.startsWith("|")) {
      made.push(makeTable(take((next) => next.startsWith("|")), link));
    } else if (ITEM.test(line)) {
      const list = element(line.startsWith("*") ? "ul" : "ol");
      const items = [];
      for (const next of take((each) => ITEM.test(each) || /^ {2,3}\S/.test(each))) {
        if (ITEM.test(next)) items.push(ITEM.exec(next)[1]);
        else items[items.length - 1] += ` ${next.trim()}`;
      }
      for (const item of items) {
        const child = element("li");
        addInline(child, item, link);
        list.append(child);
      }
      made.push(list);
    } else {
      const child = element("p");
      const words = take((next, index) =>
        next.trim() !== "" && (index === 0 || !/^(#|```|\||\* )/.test(next)));
      addInline(child, words.join(" "), link);
      made.push(child);
    }
  }
  return made;
}
