// docs.js -- shows a page of the documentation: docs.html?operating#tls is docs/operating.md from
// its heading "TLS" on.

import { render } from "./markdown.js";

const name = /^\?([a-z_/]+)$/.exec(location.search)?.[1] ?? "scripting";
const page = document.getElementById("page");

// The target of a link of the page. Files outside of the documentation are not served.
function link(target) {
  if (/^https?:/.test(target)) return target;
  if (target.startsWith("#")) return target;
  const [, path, anchor] = /^([^#]*)(#.*)?$/.exec(target);
  const url = new URL(path, `https://docs.invalid/docs/${name}.md`);
  const found = /^\/docs\/(.+)\.md$/.exec(url.pathname);
  return found ? `docs.html?${found[1]}${anchor ?? ""}` : "";
}

async function show() {
  const answer = await fetch(`docs/${name}`);
  if (!answer.ok) throw new Error(`There is no page “${name}”.`);
  page.replaceChildren(...render(await answer.text(), link));
  document.title = `${page.querySelector("h1")?.textContent ?? name} · Tidewire`;
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

for (const item of document.querySelectorAll("#pages a")) {
  if (item.search === `?${name}`) item.ariaCurrent = "page";
}

try {
  await show();
} catch (error) {
  page.textContent = error.message;
}
