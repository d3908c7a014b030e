-- load_spec.lua -- the game example with slow clients, and with many clients.

package.path = "examples/game/?.lua;" .. package.path

local client = require "support.client"
local play = require "spec_player"
local process = require "support.process"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/game/app.lua"
local receive, place_of = play.receive, play.place_of

describe("examples/game under load", function()
  local app

  after_each(function() app:stop() end)

  local function enter(query) return play.enter(app, query) end
  local function wait_figures(condition) return play.wait_figures(app, condition) end

  describe("a client that is behind", function()
    local folder

    -- Over a unix socket the kernel takes little before the rest waits in the server; many bots
    -- make much.
    before_each(function() folder = process.make_directory() end)
    after_each(function() process.remove_directory(folder) end)

    local function start_with_slow(environment)
      environment.GAME_BOTS = "250"
      app = server.start({
        app_path = PATH, environment = environment,
        listen = { "127.0.0.1:0", "unix:" .. folder .. "/socket" },
      })
      local slow = client.connect(app:url("/game/arena?name=slow", 2))
      local welcome = receive(slow, "welcome")
      slow.stream:pause()
      return slow, welcome
    end

    it("gets newer positions in place of older ones, but every event, join and leave", function()
      local slow, welcome = start_with_slow({})
      local ada = enter("name=ada")
      wait_figures(function(figures) return figures.messages_replaced >= 3 end)
      local bob, bob_welcome = enter("name=bob")
      local carl, carl_welcome = enter("name=carl")
      bob:close(1000)
      carl:close(1000)
      local names = { [bob_welcome.you] = "bob", [carl_welcome.you] = "carl" }
      local seen, first = {}, nil -- states that Ada has read until Carl had left
      while true do
        local message = receive(ada, "events", "left")
        if message.type == "left" and names[message.id] == "carl" then break end
        if message.type == "events" then
          first = first or message.tick
          seen[message.tick] = message.events
        end
      end
      slow.stream:resume()
      local missing, last, notices = 0, welcome.tick, {}
      while notices[#notices] ~= "carl left" do
        local message = receive(slow, "events", "state", "joined", "left")
        if message.type == "state" then
          assert.is_true(message.tick > last)
          missing, last = missing + message.tick - last - 1, message.tick
        elseif message.type == "events" then
          if message.tick >= first then assert.same(seen[message.tick], message.events) end
          seen[message.tick] = nil
        else
          local name = names[message.id or message.player.id]
          notices[#notices + 1] = name and name .. " " .. message.type
        end
      end
      assert.is_true(missing >= 3)
      assert.same({}, seen)
      assert.same({ "bob joined", "carl joined", "bob left", "carl left" }, notices)
      assert.equal(0, play.get(app, "/stats").messages_dropped)
    end)

    it("gets the whole state again when its queue was full", function()
      local slow = start_with_slow({ TIDEWIRE_MAX_BACKLOG = "40K" })
      wait_figures(function(figures) return figures.messages_dropped >= 3 end)
      local ada, ada_welcome = enter("name=ada")
      slow.stream:resume()
      local welcome = receive(slow, "welcome")
      local names = {}
      for _, player in ipairs(welcome.players) do names[player.id] = player.name end
      assert.same({ "ada", 251 }, { names[ada_welcome.you], #welcome.players })
      play.steer(slow, 5, 0)
      play.wait_state(ada, function(state)
        return select(3, place_of(state.players, welcome.you)) == 5
      end)
    end)
  end)

  it("has a load script, which ends by itself and prints its figures", function()
    app = server.start({ app_path = PATH })
    local url = app:url("/game/load")
    local result = process.run("lua5.4", {
      args = {
        "examples/game/bots.lua", "--url", url, "--count", "4", "--seconds", "5", "--inputs", "20",
      },
    })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.is_truthy(result.stdout:find("4 bots for 5 s, 20 inputs a second each; 0 failed", 1,
      true), result.stdout)
    assert.is_truthy(result.stdout:find("[1-9]%d* in all, %d+ messages of events, 0 errors"),
      result.stdout)
    wait_figures(function(figures) return figures.matches == 0 end)
    for _, args in ipairs({
      { "--count", "1001" }, { "--seconds", "0" }, { "--url", "http://x/" }, { "--count" },
    }) do
      table.insert(args, 1, "examples/game/bots.lua")
      assert.equal(2, process.run("lua5.4", { args = args }).code)
    end
    local nowhere = url:gsub("/game/.*", "/nothing")
    assert.equal(1, process.run("lua5.4", {
      args = { "examples/game/bots.lua", "--url", nowhere, "--count", "1", "--seconds", "1" },
    }).code)
  end)
end)
