-- game_spec.lua -- the game example in two real browsers: its page, and the server between them.
--
-- examples/game/*_spec.lua test the server's part of each message. TIDEWIRE_TEST_SHOTS=FOLDER
-- writes pictures of the page into the folder.

local chromium = require "browser.chromium"
local client = require "support.client"
local looks = require "browser.looks"
local link = require "support.link"
local loop = require "support.loop"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/game/app.lua"

if not chromium.find() then
  describe("the game's page", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

describe("the game's page", function()
  local app, ada, bob
  -- servers whose end is checked last: a check closes all streams of the test, the browsers' too
  local ended = {}

  local function start(address, environment)
    return server.start({
      app_path = PATH, listen = { address }, environment = environment or { GAME_BOTS = "0" },
    })
  end
  local function page_url() return app:url("/"):gsub("^ws", "http") end

  lazy_setup(function()
    app = start("127.0.0.1:0")
    ada, bob = chromium.start(), chromium.start()
  end)

  lazy_teardown(function()
    if ada then ada:stop() end
    if bob then bob:stop() end
    ended[#ended + 1] = app
    for _, each in ipairs(ended) do each:stop() end
  end)

  -- Each test begins with browsers without stored data, and in new matches.
  before_each(function()
    ada:reset()
    bob:reset()
  end)

  after_each(function()
    assert.same({ {}, {} }, { ada.problems, bob.problems })
  end)

  -- Ends a server and starts another at its place.
  local function replace_server(environment)
    local port = app.addresses[1].port
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    ended[#ended + 1] = app
    app = start("127.0.0.1:" .. port, environment)
  end

  local function is_in(browser, state)
    browser:wait(("document.querySelector('#state').dataset.state === %q"):format(state))
  end

  -- The page's modules are asked for what the page shows: `game.arena`.
  local function arena_is_there(browser)
    browser:eval([[import("/game.js").then((module) => { Object.assign(globalThis, module); })]])
    browser:wait("game.arena && game.arena.me.x !== undefined")
  end

  -- Opens the page as a new user, and opens a new match by name.
  local function join(browser, name, match)
    browser:open(page_url())
    browser:type("#name", name):type("#own-match", match):click("#own-form button")
    is_in(browser, "open")
    arena_is_there(browser)
  end

  local function sees_two(browser)
    browser:wait("game.arena.players.size === 2 && [...game.arena.players.values()].every(({ x }) "
      .. "=> x !== undefined)")
  end

  local function join_both(match)
    join(ada, "ada", match)
    join(bob, "bob", match)
    sees_two(ada)
    sees_two(bob)
  end

  local PLACE = "[...game.arena.players.values()].find((player) => player.name === %q)"

  local function place_of(browser, name)
    local place =
      browser:eval(("(({ x, y, heading }) => ({ x, y, heading }))(%s)"):format(PLACE:format(name)))
    return place.x, place.y, place.heading
  end

  local function mouse(browser, kind, x, y)
    browser:call("Input.dispatchMouseEvent", {
      type = kind, x = x, y = y, button = kind == "mouseMoved" and "none" or "left", clickCount = 1,
    })
  end

  -- Moves the mouse to a place beside where one's own glider is seen.
  local function point(browser, dx, dy)
    local me = browser:eval("painter.placeOf(game.arena.me)")
    mouse(browser, "mouseMoved", me.x + dx, me.y + dy)
  end

  -- Waits until a player has come so far from a place.
  local function moves(browser, name, x, y, least)
    browser:wait(("((p) => Math.hypot(p.x - %f, p.y - %f) > %d)(%s)")
      :format(x, y, least, PLACE:format(name)))
  end

  -- sorted, because a player that starts on an orb is the first for a moment
  local SCORES = [[ [...document.querySelectorAll("#scores bdi")]
    .map((name) => name.textContent).sort() ]]
  local FEED = [[ [...document.querySelectorAll("#feed li")].map((line) => line.textContent) ]]

  it("lets two people see each other move", function()
    join_both("moving")
    local x, y = place_of(bob, "ada")
    point(ada, x < 1200 and 200 or -200, 0) -- to where there is room
    moves(bob, "ada", x, y, 120)
    moves(ada, "ada", x, y, 120)
    local heading = select(3, place_of(bob, "ada"))
    assert.is_true(math.abs(heading - (x < 1200 and 0 or 180)) <= 1)
    x, y = place_of(ada, "bob")
    bob:call("Input.dispatchKeyEvent", {
      type = "keyDown", key = "w", code = y > 800 and "KeyW" or "KeyS", windowsVirtualKeyCode = 87,
    })
    moves(ada, "bob", x, y, 120)
    local _, now_y = place_of(ada, "bob")
    assert.equal(y > 800, now_y < y)
  end)

  it("shows what the server's states say, a moment later and in between", function()
    join_both("smooth")
    local x = place_of(ada, "bob")
    point(bob, x < 1200 and 200 or -200, 0)
    -- Between two states he is seen in places between theirs. (Where the page has just got none, he
    -- stands for a moment: so it is looked at again.)
    ada:wait([[(() => {
      const bob = [...game.arena.players.values()].find((player) => player.name === "bob");
      const places = new Set(), now = performance.now();
      for (let ms = 0; ms < 40; ms += 8) {
        game.arena.advance(now + ms);
        places.add(bob.x);
      }
      return places.size >= 4;
    })()]])
  end)

  it("shows joins and leaves", function()
    join(ada, "ada", "doors")
    assert.equal("only you", ada:eval("document.querySelector('#crowd').textContent"))
    join(bob, "bob", "doors")
    ada:wait(FEED .. ".includes('bob joins')")
    ada:wait("document.querySelector('#crowd').textContent === '2 people'")
    ada:wait(SCORES .. ".join() === 'ada,bob'")
    bob:wait(SCORES .. ".join() === 'ada,bob'")
    bob:click("#leave")
    bob:wait("!document.querySelector('#lobby').hidden && document.querySelector('#game').hidden")
    ada:wait(FEED .. ".includes('bob leaves')")
    ada:wait(SCORES .. ".join() === 'ada'")
  end)

  it("shoots with the mouse and with the space bar, and the other sees the bolts", function()
    join_both("shooting")
    point(ada, 0, -20) -- too near to move
    local me = ada:eval("painter.placeOf(game.arena.me)")
    mouse(ada, "mousePressed", me.x, me.y - 20)
    bob:wait("[...game.arena.bolts.values()].some((bolt) => bolt.heading === 270)")
    mouse(ada, "mouseReleased", me.x, me.y - 20)
    bob:wait("game.arena.bolts.size === 0")
    bob:call("Input.dispatchKeyEvent",
      { type = "keyDown", key = " ", code = "Space", windowsVirtualKeyCode = 32 })
    ada:wait("game.arena.bolts.size > 0")
    bob:call("Input.dispatchKeyEvent",
      { type = "keyUp", key = " ", code = "Space", windowsVirtualKeyCode = 32 })
    ada:wait("game.arena.bolts.size === 0")
  end)

  it("has a lobby: matches that run, quick play, a match of one's own", function()
    ada:open(page_url())
    ada:wait("getComputedStyle(document.querySelector('#no-matches')).display !== 'none'")
    ada:type("#own-match", "no blanks"):click("#own-form button")
    ada:wait("document.querySelector('#lobby-problem').textContent.includes('letters, digits')")
    join(bob, "bob", "open-house")
    ada:wait([[document.querySelector("#matches button")?.textContent === "open-house1 person"]])
    ada:type("#name", "ada"):click("#quick")
    is_in(ada, "open")
    arena_is_there(ada)
    assert.equal("open-house", ada:eval("document.querySelector('#match').textContent"))
    bob:wait(SCORES .. ".join() === 'ada,bob'")
    ada:click("#leave"):wait("document.querySelector('#matches button')")
    ada:click("#matches button")
    is_in(ada, "open")
    bob:wait(SCORES .. ".join() === 'ada,bob'")
  end)

  it("shows names as the text they are", function()
    local evil = "<b onx=1>&amp;<p"
    join(ada, "ada", "markup")
    join(bob, evil, "markup")
    ada:wait(FEED .. (".includes(%q)"):format(evil .. " joins"))
    ada:wait(SCORES .. (".join() === %q"):format(evil .. ",ada"))
    assert.equal(0,
      ada:eval("document.querySelectorAll('#scores li b[onx], #feed b, #feed p').length"))
  end)

  it("goes on when it is loaded again", function()
    join_both("again")
    ada:open(page_url() .. "?again")
    is_in(ada, "open")
    arena_is_there(ada)
    assert.equal("again", ada:eval("document.querySelector('#match').textContent"))
    bob:wait(SCORES .. ".join() === 'ada,bob'")
  end)

  it("takes no place in the match while the browser keeps the page for the way back", function()
    join_both("put-away")
    ada:eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    bob:wait("game.arena.players.size === 1")
    ada:eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    sees_two(bob)
    is_in(ada, "open")
  end)

  it("keeps the player's place through a lost socket", function()
    join(bob, "bob", "tunnel")
    local path <close> = link.start(app.addresses[1])
    ada:open((page_url():gsub(":%d+/", ":" .. path.port .. "/")))
    ada:type("#name", "ada"):type("#own-match", "tunnel"):click("#own-form button")
    is_in(ada, "open")
    arena_is_there(ada)
    sees_two(bob)
    local id = ada:eval("game.arena.you")
    for _, how in ipairs({ "reset", "silence" }) do
      path:switch(false)
      path:cut(how)
      ada:wait("document.querySelector('#state').textContent === 'reconnecting…'")
      path:cut("reset")
      path:switch(true)
      ada:eval("document.querySelector('#banner-button').click()")
      is_in(ada, "open")
      ada:wait("document.querySelector('#banner').hidden")
      assert.equal(id, ada:eval("game.arena.you"))
      sees_two(ada)
    end
    assert.is_false(bob:eval(FEED .. ".includes('ada leaves')"))
    local x, y = place_of(bob, "ada")
    point(ada, x < 1200 and 200 or -200, 0)
    moves(bob, "ada", x, y, 60)
    ada:click("#leave")
    bob:wait("game.arena.players.size === 1")
  end)

  it("says why it was closed: a match that is full, too many messages", function()
    replace_server({ GAME_BOTS = "0", GAME_PLAYERS = "1" })
    join(bob, "bob", "crowded")
    ada:open(page_url())
    ada:type("#own-match", "crowded"):click("#own-form button")
    ada:wait("document.querySelector('#lobby-problem').textContent === " ..
      "'There is no place for you: this match is full: 1 play in it.'")
    assert.is_false(ada:eval("document.querySelector('#lobby').hidden"))
    ada:wait("document.querySelector('#matches button').disabled")
    bob:eval([[(() => { // a page gone mad
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (text) {
        for (let n = 0; n < 400; n++) send.call(this, text);
      };
    })()]])
    point(bob, 100, 0)
    is_in(bob, "ended")
    assert.equal("The server has closed the connection: more than 50 messages a second.",
      bob:eval("document.querySelector('#banner-text').textContent"))
    bob:click("#banner-button"):wait("!document.querySelector('#lobby').hidden")
    ada:wait("!document.querySelector('#matches button')") -- and the match has ended with him
    replace_server()
  end)

  it("comes back when the server does", function()
    join_both("phoenix")
    ada:eval([[(() => {
      const banner = document.querySelector("#banner-text");
      globalThis.said = [];
      new MutationObserver(() => said.push(banner.textContent))
        .observe(banner, { childList: true });
    })()]])
    local port = app.addresses[1].port
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    ada:wait("said.some((words) => /^The server is going away. Trying again in a "
      .. "second.$/.test(words))")
    ended[#ended + 1] = app
    app = start("127.0.0.1:" .. port)
    for _, browser in ipairs({ ada, bob }) do
      is_in(browser, "open")
      browser:wait("document.querySelector('#banner').hidden")
      sees_two(browser)
    end
    local x, y = place_of(bob, "ada")
    point(ada, x < 1200 and 200 or -200, 0)
    moves(bob, "ada", x, y, 60)
  end)

  it("fits a phone, and is played with two thumbs there", function()
    ada:resize(360, 740)
    ada:call("Emulation.setTouchEmulationEnabled", { enabled = true, maxTouchPoints = 5 })
    ada:open(page_url())
    assert.same({}, looks.nameless(ada))
    assert.is_true(ada:eval("document.documentElement.scrollWidth") <= 360)
    join_both("a-name-that-is-very-long")
    for _, width in ipairs({ 320, 360 }) do
      ada:resize(width, 740)
      ada:wait("innerWidth === " .. width)
      assert.equal(width, ada:eval("document.documentElement.scrollWidth"))
      for _, id in ipairs({ "fire", "scores", "leave", "points", "match" }) do
        local box =
          ada:eval(("document.getElementById(%q).getBoundingClientRect().toJSON()"):format(id))
        assert.is_true(box.left >= 0 and box.right <= width and box.bottom <= 740
          and box.width > 0, id)
      end
      local edges = ada:eval([[["leave", "scores", "stick", "fire"].map((id) => {
        const box = document.getElementById(id).getBoundingClientRect();
        return [box.left, box.right];
      })]])
      -- nothing lies over another
      assert.is_true(edges[1][2] < edges[2][1] and edges[3][2] < edges[4][1])
    end
    assert.same({}, looks.nameless(ada))
    local x, y = place_of(bob, "ada")
    local finger = { x = 90, y = 600, id = 1 }
    ada:touch("touchStart", { finger })
    finger.x = x < 1200 and 150 or 30
    ada:touch("touchMove", { finger })
    moves(bob, "ada", x, y, 100)
    local box = ada:eval("document.querySelector('#fire').getBoundingClientRect().toJSON()")
    local thumb = { x = box.x + box.width / 2, y = box.y + box.height / 2, id = 2 }
    ada:touch("touchStart", { finger, thumb })
    bob:wait(("[...game.arena.bolts.values()].some((bolt) => bolt.heading === %d)")
      :format(x < 1200 and 0 or 180))
    ada:touch("touchEnd", {})
    bob:wait("game.arena.bolts.size === 0")
    local rest = [[((p) => {
      const moved = globalThis.lastX !== p.x;
      globalThis.lastX = p.x;
      return !moved;
    })(%s)]]
    bob:wait(rest:format(PLACE:format("ada"))) -- without a finger it comes to rest
    ada:call("Emulation.setTouchEmulationEnabled", { enabled = false })
  end)

  it("can be read in light and in dark", function()
    join_both("colours")
    local lobby = {
      ".card h1", ".card header p", "label", "#matches-title", "#no-matches", "#quick",
      "#own-form button", ".help",
    }
    local match = {
      "#match", "#state", "#leave", "#scores .me bdi", "#scores .place", "#crowd", ".mine", "#fire",
    }
    local grounds = {}
    local function check(selectors, scheme)
      ada:prefer(scheme)
      grounds[scheme] = ada:eval("getComputedStyle(document.body).backgroundColor")
      looks.assert_readable(ada, scheme, selectors)
    end
    for _, scheme in ipairs({ "light", "dark" }) do check(match, scheme) end
    ada:click("#leave"):wait("!document.querySelector('#lobby').hidden")
    for _, scheme in ipairs({ "light", "dark" }) do check(lobby, scheme) end
    assert.is_not.equal(grounds.light, grounds.dark)
    ada:prefer("light")
  end)

  local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
  if shots then
    it("has its picture taken", function()
      replace_server({ GAME_BOTS = "24" })
      local others = {}
      for number, name in ipairs({ "Grace", "Linus", "Zoë", "Ken" }) do
        others[number] =
          assert(client.connect(app:url("/game/friday-night?name=" .. name:gsub("ë", "%%C3%%AB"))))
      end
      others[5] = assert(client.connect(app:url("/game/north?name=Alan")))
      for _, scheme in ipairs({ "light", "dark" }) do
        ada:reset()
        ada:prefer(scheme)
        ada:open(page_url()):wait("document.querySelectorAll('#matches button').length === 2")
        for _, size in ipairs({ { 1280, 800 }, { 360, 740 } }) do
          ada:resize(size[1], size[2])
          loop.pass(0.3)
          ada:screenshot(("%s/game-lobby-%s-%d.png"):format(shots, scheme, size[1]))
        end
        ada:resize(1280, 800)
        join(ada, "ada", "friday-night")
        mouse(ada, "mousePressed", 640, 400)
        for _ = 1, 10 do -- towards the middle, where more is to be seen
          local me = ada:eval("(({ x, y }) => ({ x, y }))(game.arena.me)")
          point(ada, math.max(-200, math.min(200, 1200 - me.x)),
            math.max(-200, math.min(200, 800 - me.y)))
          loop.pass(1)
          for _, other in ipairs(others) do repeat until not other:step() end -- they answer pings
        end
        for _, size in ipairs({ { 1280, 800 }, { 360, 740 }, { 690, 330 } }) do
          ada:resize(size[1], size[2])
          loop.pass(0.5)
          ada:screenshot(("%s/game-%s-%d.png"):format(shots, scheme, size[1]))
        end
      end
      replace_server()
    end)
  end
end)
