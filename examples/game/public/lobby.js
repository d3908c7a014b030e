// lobby.js -- the first screen: a name, the running matches, and buttons to join one.
//
// Asks the server for /matches every two seconds while it is shown. The server chooses the match
// for quick play. Knows nothing of a match.

const ASK_AGAIN = 2000; // milliseconds

const byId = (id) => document.getElementById(id);

export class Lobby {
  #onPlay;
  #timer = 0;

  // onPlay(match, name): the user wants to play.
  constructor(onPlay) {
    this.#onPlay = onPlay;
    byId("name").value = localStorage.getItem("game-name") ?? "";
    byId("play-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#quickPlay();
    });
    byId("own-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const match = byId("own-match").value.trim();
      if (/^[A-Za-z0-9_-]{1,24}$/.test(match)) this.#play(match);
      else this.say("A match has a name of letters, digits, “_” and “-”.");
    });
  }

  show(problem = "") {
    byId("lobby").hidden = false;
    document.title = "Gliders";
    this.say(problem);
    this.#refresh();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    byId("lobby").hidden = true;
  }

  say(problem) {
    byId("lobby-problem").textContent = problem;
  }

  #play(match) {
    const name = byId("name").value.trim();
    if (/[\p{C}]/u.test(name) || [...name].length > 16) {
      return this.say("Choose a name of at most 16 letters.");
    }
    localStorage.setItem("game-name", name);
    this.#onPlay(match, name);
  }

  async #ask() {
    const response = await fetch("matches");
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return response.json();
  }

  async #quickPlay() {
    try {
      this.#play((await this.#ask()).quick);
    } catch {
      this.say("The server does not answer. Try again in a moment.");
    }
  }

  async #refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), ASK_AGAIN);
    try {
      const { matches } = await this.#ask();
      this.#list(matches);
    } catch {
      this.#list([]);
    }
  }

  // The buttons that are there stay where they are: one that is just being pressed must not vanish.
  #list(matches) {
    const list = byId("matches");
    const old = new Map([...list.children].map((item) => [item.dataset.match, item]));
    list.replaceChildren(...matches.map((match) => {
      const item = old.get(match.name) ?? this.#item(match.name);
      const button = item.firstElementChild;
      button.disabled = match.players >= match.most_players;
      const people = match.players === 1 ? "1 person" : `${match.players} people`;
      const bots = match.bots === 0 ? "" : match.bots === 1 ? ", 1 bot" : `, ${match.bots} bots`;
      button.lastElementChild.textContent = button.disabled ? "full" : people + bots;
      return item;
    }));
  }

  #item(name) {
    const item = document.createElement("li");
    item.dataset.match = name;
    const button = document.createElement("button");
    const label = document.createElement("bdi");
    label.textContent = name;
    const about = document.createElement("span");
    about.className = "quiet";
    button.append(label, about);
    button.addEventListener("click", () => this.#play(name));
    item.append(button);
    return item;
  }
}
