-- game_spec.lua -- the game example without its page: all messages, the begin and end of matches,
-- and bots. world_spec.lua tests the arena, load_spec.lua many and slow clients,
-- tests/browser/game_spec.lua the page.

package.path = "examples/game/?.lua;" .. package.path

local client = require "support.client"
local loop = require "support.loop"
local play = require "spec_player"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/game/app.lua"
local receive, receive_event, place_of = play.receive, play.receive_event, play.place_of
local steer, wait_state = play.steer, play.wait_state

describe("examples/game", function()
  local app

  local function start(environment)
    app = server.start({ app_path = PATH, environment = environment or { GAME_BOTS = "0" } })
  end

  after_each(function() app:stop() end)

  local function get(path) return play.get(app, path) end
  local function enter(query, match) return play.enter(app, query, match) end
  local function wait_figures(condition) return play.wait_figures(app, condition) end

  describe("joining", function()
    before_each(function() start() end)

    it("gets the whole state at once", function()
      local _, welcome = enter("name=ada")
      assert.same({ "arena", 20, 2400, 1600, 3 }, {
        welcome.match, welcome.ticks_per_second, welcome.width, welcome.height, welcome.shields,
      })
      assert.same({ { id = welcome.you, name = "ada", bot = false } }, welcome.players)
      assert.is_truthy(place_of(welcome.positions, welcome.you))
      assert.equal(200 * 4, #welcome.orbs)
      assert.same({ {}, 36, 20 }, { welcome.bolts, welcome.bolt.speed, welcome.bolt.ticks })
    end)

    it("a running match shows its players, and shows the new one to them", function()
      local ada, ada_welcome = enter("name=ada")
      steer(ada, 0, 0, true)
      receive_event(ada, "shot")
      local bob, welcome = enter("name=bob")
      table.sort(welcome.players, function(one, other) return one.id < other.id end)
      assert.same({
        { id = ada_welcome.you, name = "ada", bot = false },
        { id = welcome.you, name = "bob", bot = false },
      }, welcome.players)
      assert.is_truthy(place_of(welcome.positions, ada_welcome.you))
      assert.is_true(welcome.tick > ada_welcome.tick and #welcome.bolts >= 6)
      assert.same({ type = "joined", player = { id = welcome.you, name = "bob", bot = false } },
        receive(ada, "joined"))
      -- the new player does not get this
      assert.equal("state", receive(bob, "state", "joined").type)
      assert.is_truthy(place_of(receive(bob, "state").players, ada_welcome.you))
      bob:close(1000)
      assert.same({ type = "left", id = welcome.you }, receive(ada, "left"))
      wait_state(ada, function(state) return not place_of(state.players, welcome.you) end)
    end)

    it("needs no name, and accepts names in any script", function()
      local _, welcome = enter()
      assert.is_truthy(welcome.players[1].name:find("^glider %d+$"))
      for query, name in pairs({
        ["name="] = "^glider", ["name=Zo%C3%AB%20%E5%BC%A0"] = "^Zoë 张$",
        ["name=%3Cb%3E"] = "^<b>$",
        ["name=" .. ("%F0%9F%98%80"):rep(16)] = "^" .. ("😀"):rep(16) .. "$",
      }) do
        local _, other = enter(query, "other")
        local found
        for _, player in ipairs(other.players) do found = found or player.name:find(name) end
        assert.is_truthy(found, query)
      end
    end)

    it("is refused with an invalid name", function()
      for path, why in pairs({
        ["/game/arena?name=" .. ("a"):rep(17)] = "name must have 1 to 16 characters, not 17",
        ["/game/arena?name=%20ada"] = "begin or end with a blank",
        ["/game/arena?name=a%00b"] = "an invisible character",
        ["/game/arena?name=a%E2%80%AEb"] = "an invisible character",
        ["/game/arena?name=%FF"] = "name must be text",
        ["/game/" .. ("m"):rep(25)] = "a match has a name of 1 to 24",
        ["/game/a%20b"] = "a match has a name of 1 to 24",
        ["/game/%3Cb%3E"] = "a match has a name of 1 to 24",
      }) do
        local peer, status, _, body = client.connect(app:url(path))
        assert.same({ nil, 400 }, { peer, status }, path)
        assert.is_truthy(body:find(why, 1, true), path .. " -> " .. body)
      end
      assert.equal(0, get("/stats").matches_started)
    end)
  end)

  describe("playing", function()
    before_each(function() start() end)

    it("numbers its ticks, and only ticks reported as skipped are missing", function()
      local ada, welcome = enter()
      local last, missing = welcome.tick, 0
      for _ = 1, 25 do
        local tick = receive(ada, "state").tick
        assert.is_true(tick > last)
        last, missing = tick, missing + tick - last - 1
      end
      assert.is_true(missing <= get("/stats").skipped)
    end)

    it("skips the ticks for which the server was late, and reports them", function()
      local ada = enter()
      local last = receive(ada, "state").tick
      app:signal("sigstop")
      loop.pass(0.4)
      app:signal("sigcont")
      assert.is_truthy(app:wait_for_log(' warn .*message="ticks skipped".*match=arena'))
      local left_out
      wait_state(ada, function(state)
        left_out, last = state.tick - last - 1, state.tick
        return left_out > 0
      end)
      assert.is_true(left_out >= 5)
      local skipped = get("/matches").matches[1].skipped
      assert.is_true(skipped >= left_out)
      assert.is_true(get("/stats").skipped >= skipped)
    end)

    it("moves a glider as it is steered, and all players see the same", function()
      local ada, ada_welcome = enter("name=ada")
      local bob = enter("name=bob")
      local x, y = place_of(ada_welcome.positions, ada_welcome.you)
      local heading = x < 1200 and 0 or 180 -- to where there is room
      steer(ada, heading, 100)
      local state = wait_state(ada, function(state)
        return math.abs(place_of(state.players, ada_welcome.you) - x) > 150
      end)
      local now_x, now_y, now_heading = place_of(state.players, ada_welcome.you)
      assert.same({ x < 1200, y, heading }, { now_x > x, now_y, now_heading })
      local seen = wait_state(bob, function(other) return other.tick == state.tick end)
      table.sort(state.players)
      table.sort(seen.players)
      assert.same(state, seen)
      steer(ada, heading, 0)
      local last
      wait_state(ada, function(other)
        local here = place_of(other.players, ada_welcome.you)
        local rests = here == last
        last = here
        return rests
      end)
    end)

    it("ignores everything but steering", function()
      local ada, welcome = enter()
      local x, y = place_of(welcome.positions, welcome.you)
      ada:send_text('{"type":"steer","heading":0,"thrust":0,"fire":false,"x":1,"y":1,"points":999,'
        .. '"id":1,"shields":9}')
      for _ = 1, 5 do
        local now_x, now_y, _, points, shields = place_of(receive(ada, "state").players,
          welcome.you)
        assert.same({ x, y }, { now_x, now_y })
        assert.is_true(points < 50 and shields <= 4) -- (it may have come to be on an orb)
      end
    end)

    it("reports each shot with its tick", function()
      local ada, welcome = enter()
      steer(ada, 45, 0, true)
      local shot, tick = receive_event(ada, "shot")
      assert.is_true(tick > welcome.tick)
      local bolt, player, x, y, heading = table.unpack(shot, 2)
      assert.same({ "number", welcome.you, 45 }, { type(bolt), player, heading })
      local at_x, at_y = place_of(welcome.positions, welcome.you)
      assert.is_true(math.abs(x - at_x) < 60 and math.abs(y - at_y) < 60)
    end)

    it("answers other messages with an error, and loses nothing", function()
      local ada, welcome = enter()
      for text, expected in pairs({
        ["hello"] = { "not_json", "not JSON" },
        [""] = { "not_json", "not JSON" },
        ['{"type":"steer","heading":NaN,"thrust":0,"fire":false}'] = { "not_json", "not JSON" },
        ['{"type":"steer","heading":Infinity,"thrust":0,"fire":false}'] = {
          "not_json", "not JSON",
        },
        ['{"type":"steer","heading":1e999,"thrust":0,"fire":false}'] = { "not_json", "not JSON" },
        ['{"type":"steer","heading":99999999999999999999,"thrust":0,"fire":false}'] = {
          "not_json", "not JSON",
        },
        ["7"] = { "unknown_type", "send {" },
        ["null"] = { "unknown_type", "send {" },
        ["[]"] = { "unknown_type", "send {" },
        ["{}"] = { "unknown_type", "send {" },
        ['{"type":"fly"}'] = { "unknown_type", "send {" },
        ['{"type":"steer"}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":360,"thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":-1,"thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":1e308,"thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":9223372036854775807,"thrust":0,"fire":false}'] = {
          "bad_steer", "heading",
        },
        ['{"type":"steer","heading":1.5,"thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":"90","thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":null,"thrust":0,"fire":false}'] = { "bad_steer", "heading" },
        ['{"type":"steer","heading":90,"thrust":101,"fire":false}'] = { "bad_steer", "thrust" },
        ['{"type":"steer","heading":90,"thrust":-1,"fire":false}'] = { "bad_steer", "thrust" },
        ['{"type":"steer","heading":90,"thrust":100}'] = { "bad_steer", "fire" },
        ['{"type":"steer","heading":90,"thrust":100,"fire":1}'] = { "bad_steer", "fire" },
      }) do
        ada:send_text(text)
        local answer = receive(ada, "error")
        assert.equal(expected[1], answer.code, text)
        assert.is_truthy(answer.error:find(expected[2], 1, true), text .. " -> " .. answer.error)
      end
      steer(ada, 77, 0)
      wait_state(ada, function(state)
        return select(3, place_of(state.players, welcome.you)) == 77
      end)
      assert.equal(1, get("/stats").players)
    end)

    it("closes a client that floods it, with the reason", function()
      local ada, flood = enter(), enter()
      for _ = 1, 600 do steer(flood, 1, 1) end
      assert.same({ 1008, "more than 50 messages a second" }, { flood:wait_closed() })
      receive(ada, "left")
      receive(ada, "state")
      assert.equal(1, get("/stats").players)
    end)
  end)

  describe("matches", function()
    it("are separate worlds, several at once", function()
      start()
      local ada, ada_welcome = enter("name=ada", "north")
      local bob, bob_welcome = enter("name=bob", "south")
      assert.same({ 1, 1 }, { #ada_welcome.players, #bob_welcome.players })
      bob:close(1000)
      steer(ada, 0, 0, true)
      for _ = 1, 5 do
        local message = receive(ada, "joined", "left", "state")
        assert.same({ "state", 6 }, { message.type, #message.players })
      end
    end)

    it("are listed, the fullest first, and quick play chooses one that is not full", function()
      start({ GAME_BOTS = "0", GAME_PLAYERS = "2" })
      local listing = get("/matches")
      assert.same({}, listing.matches)
      assert.is_truthy(listing.quick:find("^arena%-%d+$"))
      enter(nil, "north")
      enter(nil, "south")
      local bob = enter(nil, "south")
      listing = get("/matches")
      local seen = {}
      for number, match in ipairs(listing.matches) do
        seen[number] = { match.name, match.players, match.bots, match.most_players }
      end
      assert.same({ { "south", 2, 0, 2 }, { "north", 1, 0, 2 } }, seen)
      assert.equal("north", listing.quick) -- the fullest has no place
      enter(nil, "north")
      assert.is_truthy(get("/matches").quick:find("^arena%-%d+$"))
      bob:close(1000)
      wait_figures(function(figures) return figures.players == 3 end)
      assert.equal("south", get("/matches").quick)
      assert.equal("no-store", app:http("/matches").headers["cache-control"])
    end)

    it("that are full refuse players until one has left", function()
      start({ GAME_BOTS = "0", GAME_PLAYERS = "2" })
      local ada, bob = enter(), enter()
      local late = app:connect("/game/arena")
      assert.same({ 1013, "this match is full: 2 play in it" }, { late:wait_closed() })
      assert.equal(2, get("/stats").players)
      bob:close(1000)
      receive(ada, "left")
      enter("name=carl")
      assert.equal("carl", receive(ada, "joined").player.name)
    end)

    it("have a limit on their number", function()
      start({ GAME_BOTS = "0", GAME_MATCHES = "2" })
      enter(nil, "north")
      enter(nil, "south")
      local late = app:connect("/game/west")
      assert.same({ 1013, "there are 2 matches, which is all there can be" },
        { late:wait_closed() })
      enter(nil, "south")
      assert.same({ 2, 3 }, { get("/stats").matches, get("/stats").players })
    end)

    for how, leave in pairs({
      ["with a Close frame"] = function(peer) peer:close(1000) end,
      ["without one"] = function(peer) peer:drop() end,
      ["by a reset"] = function(peer) peer:abort() end,
    }) do
      it("end when the last person leaves " .. how .. ", with bots or not", function()
        start({ GAME_BOTS = "4" })
        local ada, bob = enter(), enter()
        wait_state(ada, function(state) return state.tick >= 3 end)
        leave(bob)
        receive(ada, "left")
        assert.equal(1, get("/stats").matches)
        leave(ada)
        wait_figures(function(figures) return figures.matches == 0 end)
        assert.same({}, get("/matches").matches)
        local figures = get("/stats")
        assert.same({ 1, 1, 0, 0 }, {
          figures.matches_started, figures.matches_ended, figures.players, figures.bots,
        })
        local again, fresh = enter() -- it is another one, from the first tick
        local last = fresh.tick
        assert.equal(0, last)
        -- and the old one's clock, which was further on, speaks to this room no more
        for _ = 1, 10 do
          local tick = receive(again, "state").tick
          assert.is_true(tick > last)
          last = tick
        end
      end)
    end
  end)

  describe("bots", function()
    it("join a single player, and leave when more players join", function()
      start({ GAME_BOTS = "3" })
      local ada, welcome = enter("name=ada")
      local ids, last = {}, welcome.you
      for number = 1, 3 do
        local player = receive(ada, "joined").player
        assert.is_true(player.bot and player.id > last and #player.name > 0)
        ids[number], last = player.id, player.id
      end
      assert.same({ 1, 3 }, { get("/matches").matches[1].players, get("/matches").matches[1].bots })
      enter("name=bob")
      assert.equal("bob", receive(ada, "joined").player.name)
      assert.equal(ids[3], receive(ada, "left").id)
      assert.equal(2, get("/matches").matches[1].bots)
    end)

    it("steer themselves", function()
      start({ GAME_BOTS = "2" })
      local ada = enter()
      local bot = receive(ada, "joined").player
      local x, y = place_of(receive(ada, "state").players, bot.id)
      wait_state(ada, function(state)
        local now_x, now_y = place_of(state.players, bot.id)
        return math.abs(now_x - x) + math.abs(now_y - y) > 100
      end)
    end)

    it("have the number that the environment sets", function()
      start()
      enter()
      assert.equal(0, get("/stats").bots)
      for name, value in pairs({ GAME_BOTS = "many", GAME_PLAYERS = "0", GAME_MATCHES = "1.5" }) do
        local result = server.run({ "check", PATH }, { environment = { [name] = value } })
        assert.equal(2, result.code)
        assert.is_truthy(result.stderr:find(name .. " must be a whole number from", 1, true),
          result.stderr)
      end
    end)
  end)

  it("runs with one worker, and refuses to start with more", function()
    local result = server.run({ PATH, "--listen", "127.0.0.1:0", "--workers", "2" })
    assert.equal(2, result.code)
    assert.is_truthy(result.stderr:find("the game runs with one worker", 1, true), result.stderr)
    start()
  end)

  it("serves its page", function()
    start()
    for path, kind in pairs({
      ["/"] = "text/html", ["/game.js"] = "text/javascript", ["/style.css"] = "text/css",
      ["/icon.svg"] = "image/svg",
    }) do
      local response = app:http(path)
      assert.equal(200, response.status)
      assert.is_truthy(response.headers["content-type"]:find(kind, 1, true),
        response.headers["content-type"])
    end
  end)
end)
