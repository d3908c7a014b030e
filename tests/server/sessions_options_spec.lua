-- sessions_options_spec.lua -- the fields of the option `resume`, and other options of an endpoint
-- with sessions: how long and with how much a session waits, what a return changes, and what the
-- counters and the log say.

local cjson = require "cjson"

local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local session = require "support.session"
local stream = require "support.stream"

-- Events have the path and ?who= of their connection. "to ID TEXT" sends to another connection.
local APP = [[
  local record, tw = require "record", require "tidewire"
  local function note(name)
    return function(conn, ...) record(name .. conn.path .. conn.query.who, ...) end
  end
  local function handler(options)
    local all = {
      ping_period = 0, on_start = function(conn) note "start" (conn, conn.id) end,
      handle_message = function(conn, message)
        local id, text = message:match("^to (%w+) (.*)$")
        if id then conn:send(tostring(tw.send(id, text))) else conn:send(message) end
      end,
      on_disconnect = function(conn, code) note "away" (conn, code, conn:is_open()) end,
      on_close = note "close",
    }
    for name, value in pairs(options) do all[name] = value end
    return all
  end
  return { endpoints = {
    ["/long"] = handler { resume = true },
    ["/short"] = handler { resume = { seconds = 0.05 } },
    ["/few"] = handler { resume = { messages = 3 } },
    ["/small"] = handler { resume = { bytes = 2000 } },
    ["/one"] = handler { resume = { sessions = 1 } },
    ["/full"] = handler { resume = true, max_connections = 1 },
    ["/silent"] = handler { resume = true, pong_period = 0.2 },
    ["/timer"] = handler { resume = true, on_disconnect = function(conn)
      conn:after(0.01, function() note "timer" (conn, conn.connected, conn:send("tick")) end)
    end },
    ["/fields"] = handler { resume = true,
      validate = function(request)
        return { user = request.query.user, extra = request.query.extra }
      end,
      on_resume = function(conn, _, before)
        note "before" (conn, before.user, before.extra, conn.user, conn.extra)
        return before.user == conn.user
      end,
      on_close = function(conn)
        note "close" (conn, conn.user, conn.extra, conn.query.user)
      end,
    },
  } }
]]

describe("a session", function()
  local app

  setup(function()
    app = server.start { app = APP, options = { "--admin", "127.0.0.1:0", "--log-level", "debug" } }
  end)
  teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function start(path, who) return session.start(app:url(path .. "?who=" .. who)) end
  local function stats() return cjson.decode(http.request(app.admin, "/stats").body) end

  local function lose(peer, event, count)
    peer.socket:abort()
    app:wait_event(event, count)
  end

  -- Sends texts to the session from outside.
  local function send(event, ...)
    local id, other = app:wait_event(event)[2], assert(client.connect(app:url("/long?who=other")))
    for _, text in ipairs { ... } do other:ask(("to %s %s"):format(id, text)) end
  end

  it("ends when its time is over", function()
    local before = stats().sessions_expired
    local ada = start("/short", "ada")
    ada.socket:abort()
    assert.same({ 1006, "session expired" }, { table.unpack(app:wait_event("close/shortada"), 2) })
    assert.equal(before + 1, stats().sessions_expired)
    assert.is_false(ada:connect().resumed)
  end)

  it("keeps as many messages as it may", function()
    local ada, bob = start("/few", "ada"), start("/few", "bob")
    lose(ada, "away/fewada")
    lose(bob, "away/fewbob")
    send("start/fewada", "1", "2", "3")
    assert.is_true(ada:connect().resumed)
    for i = 1, 3 do assert.equal(tostring(i), (ada:receive())) end
    send("start/fewbob", "1", "2", "3", "4")
    assert.same({ 1006, "too much was sent meanwhile" },
      { table.unpack(app:wait_event("close/fewbob"), 2) })
    assert.is_false(bob:connect().resumed)
  end)

  it("keeps as many bytes as it may", function()
    local ada, bob = start("/small", "ada"), start("/small", "bob")
    lose(ada, "away/smallada")
    lose(bob, "away/smallbob")
    local text = ("x"):rep(900)
    send("start/smallada", text)
    assert.is_true(ada:connect().resumed)
    assert.equal(text, (ada:receive()))
    send("start/smallbob", text, text, text)
    assert.same({ 1006, "too much was sent meanwhile" },
      { table.unpack(app:wait_event("close/smallbob"), 2) })
    assert.is_false(bob:connect().resumed)
  end)

  it("ends where more of them wait than may", function()
    local before = stats().sessions_evicted
    local ada, bob = start("/one", "ada"), start("/one", "bob")
    lose(ada, "away/oneada")
    bob.socket:abort()
    loop.wait_until(function()
      return app:events("close/oneada")[1] or app:events("close/onebob")[1]
    end)
    local ended = app:events("close/oneada")[1] or app:events("close/onebob")[1]
    assert.same({ 1006, "too many sessions wait" }, { table.unpack(ended, 2) })
    if app.workers == 1 then assert.equal("close/oneada", ended[1]) end
    assert.equal(before + 1, stats().sessions_evicted)
    local resumed = { ada:connect().resumed, bob:connect().resumed }
    assert.is_true(resumed[1] ~= resumed[2])
  end)

  it("has its place in max_connections, and its client can come back", function()
    local ada = start("/full", "ada")
    local function assert_full()
      assert.equal(503, (select(2, client.connect(app:url("/full?who=eve")))))
    end
    assert_full()
    lose(ada, "away/fullada")
    assert_full()
    assert.is_true(ada:connect().resumed)
    assert.is_true(ada:connect().resumed) -- also when its old socket is not known to be dead
    assert_full()
  end)

  it("waits for a silent client, whose socket is closed", function()
    local ada = start("/silent", "ada")
    assert.same({ 4408, "timed out" }, { ada.socket:wait_closed() })
    assert.same({ 4408, true }, { table.unpack(app:wait_event("away/silentada"), 2) })
    assert.is_true(ada:connect().resumed)
  end)

  it("has timers that run while it waits, and can be sent to", function()
    local ada = start("/timer", "ada")
    ada.socket:abort()
    assert.same({ false, true }, { table.unpack(app:wait_event("timer/timerada"), 2) })
    assert.is_true(ada:connect().resumed)
    assert.equal("tick", (ada:receive()))
  end)

  it("hands the fields of before to on_resume, and has them again where that refuses", function()
    local url = app:url("/fields?who=ada&user=ada")
    local ada = session.start(url)
    ada.socket:abort()
    ada.url = url .. "&extra=x"
    assert.is_true(ada:connect().resumed)
    assert.same({ "ada", nil, "ada", "x" },
      { table.unpack(app:wait_event("before/fieldsada"), 2, 5) })
    ada.socket:abort()
    ada.url = app:url("/fields?who=ada&user=eve&extra=y")
    assert.is_false(ada:connect().resumed)
    assert.same({ "ada", "x", "eve", "y" },
      { table.unpack(app:wait_event("before/fieldsada", 2), 2, 5) })
    assert.same({ "ada", "x", "ada" },
      { table.unpack(app:wait_event("close/fieldsada"), 2, 4) })
  end)

  it("is counted, and logged", function()
    local before = stats()
    local ada = start("/long", "ada")
    lose(ada, "away/longada")
    assert.equal(before.sessions_waiting + 1, stats().sessions_waiting)
    assert.is_true(ada:connect().resumed)
    lose(ada, "away/longada", 2)
    ada.received = 7
    assert.is_false(ada:connect().resumed)
    local after = stats()
    for name, more in pairs {
      sessions_waiting = 0, sessions_begun = 2, sessions_resumed = 1, sessions_not_resumed = 1,
    } do
      assert.equal(before[name] + more, after[name], name)
      assert.matches("\ntidewire_" .. name .. "[_total]* %d+\n",
        http.request(app.admin, "/metrics").body)
    end
    assert.is_truthy(app:wait_for_log("event=disconnected conn=%w+ generation=1 code=1006"))
    assert.is_truthy(app:wait_for_log("event=resumed conn=%w+ generation=1"))
  end)
end)

describe("new code", function()
  local app

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function text(options)
    return ([[
      local record = require "record"
      return { %s ping_period = 0,
        on_disconnect = function() record("away") end,
        on_close = function(_, code, reason) record("close", code, reason) end,
      }
    ]]):format(options)
  end

  for options, expected in pairs {
    [""] = { 1006, "the endpoint has no sessions any more" },
    ['resume = true, codec = "json",'] = { 1012, "codec changed" },
  } do
    it("ends sessions that wait, by " .. (options == "" and "no option" or options), function()
      app = server.start { app = text("resume = true,") }
      local ada = session.start(app:url("/"))
      ada.socket:abort()
      app:wait_event("away")
      reloads.good(app, text(options))
      assert.same(expected, { table.unpack(app:wait_event("close"), 2) })
    end)
  end
end)
