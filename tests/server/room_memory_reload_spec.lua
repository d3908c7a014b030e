-- room_memory_reload_spec.lua -- a reload changes what rooms remember: options, limits, codecs; and
-- what the app says of itself: problems of the option `rooms`, on_load, figures.

local cjson = require "cjson"
local chunks = require "support.chunks"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local app

after_each(function()
  stream.close_all()
  if app then app:stop() end
  app = nil
end)

--- An app with these texts as its options and its endpoints.
local function app_of(rooms, endpoints, more)
  return ([[
    local chunks = require "chunks"
    local here = require "here"
    local tw = require "tidewire"
    local function words(list)
      local all = {}
      for i, entry in ipairs(list) do all[i] = entry.payload end
      return table.concat(all, ",")
    end
    local own = {
      decode = function(payload) return payload end,
      encode = function(value) return "own:" .. value end,
    }
    local function join(conn)
      local _, position = conn:join("chat:a", nil, { after = 0, history = 100 })
      conn:send(tostring(position.recovered))
    end
    return {
      rooms = %s,
      defaults = { validate = here.validate, ping_period = 0 },
      endpoints = { %s },
      http = {
        ["POST /run"] = here.route(function(request)
          return chunks.run(request.body, { tw = tw, words = words })
        end),
      },
      %s
    }]]):format(rooms, endpoints or '["/"] = {}', more or "")
end

local function start(...) app = server.start({ app = app_of(...) }) end

local function reload(...) reloads.good(app, app_of(...)) end

local function run(code, worker)
  local results = chunks.ask_on(app, worker or 0, code)
  return results
end

local function broadcast(...)
  for i, word in ipairs { ... } do
    run(("return tw.room('chat:a'):broadcast(%q)"):format(word), i % app.workers)
  end
end

local function history()
  return run("return words(tw.room('chat:a'):history())", app.workers - 1)
end
local function rooms() return run("return tw.stats().rooms_with_memory") end

describe("a reload", function()
  it("cuts what rooms remember to new options", function()
    start '{ ["chat:*"] = { history = 10 } }'
    broadcast("1", "2", "3", "4", "5")
    local epoch = run("return tw.room('chat:a'):offset()")
    reload '{ ["chat:*"] = { history = 3 } }'
    assert.equal("3,4,5", history())
    reload '{ { "*", history = 10, history_bytes = 2 } }'
    assert.equal("4,5", history())
    assert.equal(epoch, run("return tw.room('chat:a'):offset()"))
    reload '{ ["chat:*"] = { history = 10 } }'
    broadcast("6")
    assert.equal("4,5,6", history())
    reload '{ ["chat:*"] = { history = 10, history_seconds = 0.01 } }'
    assert.equal("0", loop.ask_until(rooms, "0"))
  end)

  it("forgets rooms that have no memory any more", function()
    start '{ ["chat:*"] = { history = 10 } }'
    for i = 1, 3 do run(("tw.room('chat:%d'):broadcast('x')"):format(i)) end
    assert.equal("3", rooms())
    reload '{ ["chat:1"] = { history = 10 } }'
    assert.equal("1", loop.ask_until(rooms, "1"))
    reload 'nil'
    assert.equal("0", loop.ask_until(rooms, "0"))
    broadcast("1")
    assert.equal("", history())
    reload '{ ["chat:*"] = { history = 10 } }'
    broadcast("2")
    assert.equal("2", history())
  end)

  it("applies limits.room_memory at once", function()
    start '{ ["chat:*"] = { history = 100000, history_bytes = "16M" } }'
    run("for i = 1, 5000 do tw.room('chat:a'):broadcast(('x'):rep(1000)) end")
    assert.equal("true", run("return tw.stats().room_memory_bytes > 5e6"))
    reload('{ ["chat:*"] = { history = 100000, history_bytes = "16M" } }', nil,
      'limits = { room_memory = "1M" }')
    local function is_less() return run("return tw.stats().room_memory_bytes <= 1 << 20") end
    assert.equal("true", loop.ask_until(is_less, "true"))
    assert.equal("true", run("return #tw.room('chat:a'):history() > 500"))
    run("for i = 1, 5 do tw.room('chat:a'):broadcast(('x'):rep(1000)) end")
    local full = app:wait_for_log("event=room_memory_full")
    assert.matches("limits.room_memory is reached", full)
    run("for i = 1, 5 do tw.room('chat:a'):broadcast(('x'):rep(1000)) end")
    assert.equal(1, #app:log_lines("event=room_memory_full"))
  end)

  it("gives clients of a new codec what was encoded by it", function()
    local text = '["/text"] = { on_start = join }'
    start('{ ["chat:*"] = { history = 10 } }', text)
    broadcast("1")
    reload('{ ["chat:*"] = { history = 10 } }',
      text .. ', ["/new"] = { codec = own, on_start = join }')
    broadcast("2")
    assert.same({ "1", "2", "true" }, app:connect("/text"):receive_many(3))
    assert.same({ "own:2", "own:false" }, app:connect("/new"):receive_many(2))
  end)
end)

describe("an app with rooms", function()
  it("may broadcast in on_load", function()
    start('{ ["chat:*"] = { retain = true } }', nil,
      "on_load = function() tw.room('chat:a'):broadcast('welcome', { key = 'motd' }) end")
    assert.equal("welcome", run("return words(tw.room('chat:a'):history({ retained = true }))"))
  end)

  it("is told of problems with the line", function()
    local folder <close> = setmetatable({ name = process.make_directory() }, {
      __close = function(self) process.remove_directory(self.name) end,
    })
    process.write_file(folder.name .. "/app.lua", table.concat({
      "return {",
      "  endpoints = { ['/'] = {} },",
      "  rooms = {",
      "    ['chat:*'] = {",
      "      histori = 5,",
      "    },",
      "  },",
      "}",
    }, "\n"))
    local outcome = server.run({ "check", folder.name .. "/app.lua" })
    assert.matches(
      'app.lua:5: rooms%["chat:%*"%]: unknown option "histori"; did you mean "history"%?',
      outcome.stdout .. outcome.stderr)
  end)

  it("shows figures at the admin address", function()
    start('{ ["chat:*"] = { history = 10 } }', nil, 'admin = "127.0.0.1:0"')
    broadcast("1", "2")
    local stats = cjson.decode(http.request(app.admin, "/stats").body)
    assert.equal(1, stats.rooms_with_memory)
    assert.equal(2, stats.room_memory_messages)
    local metrics = http.request(app.admin, "/metrics").body
    assert.matches("\ntidewire_rooms_with_memory 1\n", metrics)
    assert.matches("\ntidewire_room_memory_messages 2\n", metrics)
    assert.matches("\ntidewire_room_memory_bytes %d+\n", metrics)
    assert.matches("\ntidewire_room_memory_evictions_total 0\n", metrics)
  end)
end)
