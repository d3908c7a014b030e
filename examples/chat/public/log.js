// log.js -- the list of messages: each once, in order, with consecutive messages of one user
// grouped.
//
// All text is set as text, never as markup. Sender and the sender's id identify a message, or its
// time if it has no id, so a history that is sent again adds only new messages. Knows no
// connection.

const MOST_ITEMS = 500;
const TOGETHER_SECONDS = 300;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });

function timeText(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return (today ? "" : day.format(date) + ", ") + clock.format(date);
}

// An element with a class and a text.
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Gives an element the first letter of a name, on a colour that goes with the name.
export function paintAvatar(avatar, name) {
  let hue = 0;
  for (const letter of name.toLowerCase()) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  avatar.textContent = [...name][0].toUpperCase();
  avatar.style.setProperty("--hue", hue);
}

function keyOf(message) {
  return message.username + "\n" + (message.id ?? message.timestamp + "\n" + message.message);
}

export class Log {
  #list;
  #scroller;
  #newest;
  #items = new Map(); // key -> { item, time }: the line and where its time stands

  // The list, the element that scrolls it, and a button that leads to the newest message.
  constructor(list, scroller, newest) {
    this.#list = list;
    this.#scroller = scroller;
    this.#newest = newest;
    newest.addEventListener("click", () => this.#scrollDown());
    scroller.addEventListener("scroll", () => { if (this.#isAtEnd()) newest.hidden = true; });
    // A keyboard on a phone takes height away.
    new ResizeObserver(() => { if (newest.hidden) this.#scrollDown(); }).observe(scroller);
  }

  clear() {
    this.#items.clear();
    this.#list.replaceChildren();
    this.#newest.hidden = true;
  }

  // Shows a message. own: mine, so on the other side. waiting: not confirmed yet. False if it stood
  // there.
  add(message, { own = false, waiting = false } = {}) {
    const stuck = own || this.#isAtEnd();
    if (!this.#append(message, own, waiting)) return false;
    this.#arrange();
    this.#follow(stuck);
    return true;
  }

  // Shows what is new in a history. Read aloud it would be long, so it is not.
  addHistory(messages, myName) {
    const stuck = this.#isAtEnd();
    this.#scroller.ariaLive = "off";
    for (const message of messages) {
      const own = message.username === myName;
      if (!this.#append(message, own, false) && own && message.id) {
        this.confirm(message.id, myName, message.timestamp);
      }
    }
    this.#arrange();
    this.#follow(stuck);
    setTimeout(() => { this.#scroller.ariaLive = "polite"; }, 500);
  }

  // The server has my message.
  confirm(id, myName, timestamp) {
    const known = this.#items.get(keyOf({ username: myName, id }));
    if (!known) return;
    known.item.classList.remove("waiting", "failed");
    known.item.dataset.time = timestamp;
    this.#setTime(known.time, timestamp);
  }

  // My message will not be sent any more.
  fail(id, myName) {
    const known = this.#items.get(keyOf({ username: myName, id }));
    if (!known) return;
    known.item.classList.remove("waiting");
    known.item.classList.add("failed");
    known.time.textContent = "not sent";
  }

  // A line without an author: "bob joined".
  notice(name, what) {
    const stuck = this.#isAtEnd();
    const item = element("li", "notice");
    item.append(element("bdi", "", name), " " + what);
    this.#list.append(item);
    this.#arrange();
    this.#follow(stuck);
  }

  #append(message, own, waiting) {
    const key = keyOf(message);
    if (this.#items.has(key)) return false;
    const item = element("li", "message" + (own ? " own" : "") + (waiting ? " waiting" : ""));
    item.dataset.author = message.username;
    item.dataset.time = message.timestamp;
    item.dataset.key = key;
    const avatar = element("span", "avatar");
    avatar.ariaHidden = "true";
    paintAvatar(avatar, message.username);
    const bubble = element("div", "bubble");
    const time = element("time", "time");
    this.#setTime(time, message.timestamp);
    if (waiting) time.textContent = "sending…";
    bubble.append(element("bdi", "author", own ? "You" : message.username),
      element("p", "words", message.message), time);
    item.append(avatar, bubble);
    this.#list.append(item);
    this.#items.set(key, { item, time });
    return true;
  }

  #setTime(time, timestamp) {
    time.dateTime = new Date(timestamp * 1000).toISOString();
    time.textContent = timeText(timestamp);
  }

  // Waiting messages come last; several messages of one author in a row have one name; the oldest
  // lines go.
  #arrange() {
    this.#list.append(...this.#list.querySelectorAll(".waiting"));
    while (this.#list.childElementCount > MOST_ITEMS) {
      this.#items.delete(this.#list.firstElementChild.dataset.key);
      this.#list.firstElementChild.remove();
    }
    let before = null;
    for (const item of this.#list.children) {
      const together = before !== null && before.dataset.author === item.dataset.author
        && item.dataset.author !== undefined
        && item.dataset.time - before.dataset.time < TOGETHER_SECONDS;
      item.classList.toggle("together", together);
      before = item;
    }
  }

  #isAtEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  #scrollDown() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#newest.hidden = true;
  }

  // At the newest lines the log scrolls on; a user that has scrolled up gets a notice of new ones.
  #follow(stuck) {
    if (stuck) this.#scrollDown();
    else this.#newest.hidden = false;
  }
}
