-- bridge_spec.lua -- the bridge example between a server that this spec starts, ends and starts
-- again, and clients: order, conflation, the state of the upstream, reload, drain.
--
-- The bridge has three workers and a copy of the example's files, with short pauses.

local cjson = require "cjson"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local FOLDER = require("luv").cwd() .. "/examples/bridge/"
local APP, FEED = process.read_file(FOLDER .. "app.lua"), process.read_file(FOLDER .. "feed.lua")

-- The upstream: every message to /control is a list of messages for the clients of /prices. The
-- answer is the number of these clients.
local UPSTREAM = [[
local record, tw = require "record", require "tidewire"
return {
  endpoints = {
    ["/prices"] = {
      on_start = function(conn)
        record("opened")
        conn:join("feed")
      end,
      on_close = function(_, code) record("closed", code) end,
    },
    ["/control"] = {
      codec = "json",
      max_message_size = "8M",
      handle_message = function(conn, messages)
        for _, message in ipairs(messages) do
          tw.room("feed"):broadcast(type(message) == "table" and tw.json.encode(message) or message)
        end
        conn:send(tw.room("feed"):size())
      end,
    },
  },
}
]]

local function start_upstream(port)
  return server.start({
    app = UPSTREAM, workers = 1, listen = { "127.0.0.1:" .. (port or 0) },
    -- its clients, the bridge's, have no authority for a test's certificate
    environment = { TIDEWIRE_TLS_CERTIFICATE = "", TIDEWIRE_MAX_BACKLOG = "64M" },
  })
end

--- A text with each `from` (which stands in it once) replaced by the `to` that follows it.
local function edited(text, from, to, ...)
  local first, last = text:find(from, 1, true)
  assert(first, "the example has no " .. from)
  assert(not text:find(from, last + 1, true), "the example has it twice: " .. from)
  text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
  if ... then return edited(text, ...) end
  return text
end

local function feed_with(...)
  return edited(FEED, "LONGEST_PAUSE = 0.5, 30", "LONGEST_PAUSE = 0.01, 0.08", ...)
end

local function start_bridge(upstream, feed, max_backlog)
  return server.start({
    files = {
      ["app.lua"] = APP, ["feed.lua"] = feed or feed_with(), ["public/index.html"] = "<p>prices",
    },
    -- a Unix socket takes little when its client does not read
    listen = { "127.0.0.1:0", "unix:bridge.sock" },
    workers = 3, options = { "--admin", "127.0.0.1:0" },
    environment = { UPSTREAM = upstream:url("/prices"), TIDEWIRE_MAX_BACKLOG = max_backlog },
  })
end

--- Sends messages through the upstream once it has its one client, the bridge.
local function publish(upstream, messages)
  local control = upstream:connect("/control")
  assert.equal("1", loop.ask_until(function() return (control:ask("[]")) end, "1"))
  assert.equal("1", (control:ask(cjson.encode(messages))))
  control:close(1000)
end

--- A client, of a Unix socket if its path is given, with all that it has received: `prices` by
--- symbol, `connected`, and `list`, the messages.
local function enter(bridge, path)
  local peer = path and assert(client.connect("ws+unix:" .. path .. ":/prices"))
    or bridge:connect("/prices")
  return { peer = peer, prices = {}, list = {} }
end

local function take(one)
  local message = cjson.decode((assert(one.peer:receive())))
  one.list[#one.list + 1] = message
  if message.type == "upstream" then
    one.connected = message.connected
  else
    assert.equal("prices", message.type)
    for symbol, price in pairs(message.prices) do one.prices[symbol] = price end
  end
  return message
end

local function take_until(one, condition)
  while not condition() do take(one) end
end

--- Enters, and takes all that a new client gets: the prices, and then the state of the upstream,
--- which broadcasts may precede.
local function join(bridge, path)
  local one = enter(bridge, path)
  repeat
    local before = one.list[#one.list]
  until take(one).type == "upstream" and before and before.type == "prices"
  return one
end

local function wait_for_price(one, symbol, price)
  take_until(one, function() return one.prices[symbol] == price end)
end

local function wait_for_upstream(one, connected)
  take_until(one, function() return one.connected == connected end)
end

local function stat(bridge, name)
  local stats = http.request(bridge.admin, "/stats").body
  return tonumber(stats:match(('"%s":(%%d+)'):format(name)))
end

--- Publishes prices, each greater than the one before, until a client's socket takes no more and
--- prices are replaced in its queue. Returns the last price.
local function publish_until_replaced(upstream, bridge)
  local price = 0
  repeat
    local messages = {}
    for _ = 1, 1000 do
      price = price + 1
      for _, symbol in ipairs({ "GOLD", "TIN", "ZINC" }) do
        messages[#messages + 1] = { symbol = symbol, price = price }
      end
    end
    publish(upstream, messages)
    wait_for_price(enter(bridge), "ZINC", price)
    assert(price < 200000, "no price is replaced")
  until stat(bridge, "messages_replaced") > 0
  return price
end

describe("examples/bridge", function()
  after_each(stream.close_all)

  it("gives each client all prices at once, and then each change in order", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream)
    local ada = join(bridge)
    wait_for_upstream(ada, true)
    publish(upstream, {
      { symbol = "GOLD", price = 1 }, { symbol = "TIN", price = 5 }, { symbol = "GOLD", price = 2 },
    })
    wait_for_price(ada, "GOLD", 2)
    for _ = 1, 6 do -- on whatever worker
      local bob = enter(bridge)
      assert.same({ GOLD = 2, TIN = 5 }, take(bob).prices)
      assert.is_true(take(bob).connected)
    end
    local messages = {}
    for price = 3, 200 do messages[#messages + 1] = { symbol = "GOLD", price = price } end
    publish(upstream, messages)
    for price = 3, 200 do
      assert.same({ type = "prices", prices = { GOLD = price } }, take(ada))
    end
  end)

  it("has one upstream connection with three workers, which reloads keep", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream)
    local ada = join(bridge)
    wait_for_upstream(ada, true)
    ada.list = {}
    publish(upstream, { { symbol = "GOLD", price = 1 } })
    wait_for_price(ada, "GOLD", 1)
    reloads.good(bridge, { ["feed.lua"] = feed_with("message.price)\n  else",
      "message.price * 100)\n  else") })
    reloads.bad(bridge, { ["feed.lua"] = feed_with("return feed", "error('no luck')") })
    local bob = enter(bridge)
    assert.same({ GOLD = 1 }, take(bob).prices) -- of the old code
    publish(upstream, { { symbol = "GOLD", price = 2 }, { symbol = "TIN", price = 3 } })
    wait_for_price(ada, "TIN", 300)
    assert.equal(200, ada.prices.GOLD)
    assert.equal("opened", upstream:event_names())
    for _, message in ipairs(ada.list) do assert.is_not_false(message.connected) end
    publish(upstream, { "{" }) -- no JSON: the connection is closed
    wait_for_upstream(ada, false)
    wait_for_upstream(ada, true)
    publish(upstream, { { symbol = "GOLD", price = 4 } })
    wait_for_price(ada, "GOLD", 400)
    assert.equal("opened closed opened", upstream:event_names())
    assert.equal(1007, upstream:events("closed")[1][2])
    assert.equal(1, #bridge:log_lines("no upstream"))
  end)

  it("says that the upstream is lost, and comes back with longer and longer pauses", function()
    local upstream <close> = start_upstream()
    local port = upstream.addresses[1].port
    local bridge <close> = start_bridge(upstream)
    local ada = join(bridge)
    publish(upstream, { { symbol = "GOLD", price = 1 } })
    wait_for_price(ada, "GOLD", 1)
    upstream:kill()
    wait_for_upstream(ada, false)
    local bob = enter(bridge)
    assert.same({ GOLD = 1 }, take(bob).prices)
    assert.is_false(take(bob).connected)
    assert.is_truthy(bridge:wait_for_log("no upstream.* failures=6 "))
    local longest = 0.01
    for count = 1, 6 do
      local line = bridge:log_lines('message="no upstream".* failures=' .. count .. " ")[1]
      local pause = tonumber(line:match("again_in=(%S+)"))
      assert.is_true(pause >= longest / 2 and pause <= longest, line)
      if count > 1 then assert.is_truthy(line:find('why="connection refused"', 1, true), line) end
      longest = math.min(2 * longest, 0.08)
    end
    local again <close> = start_upstream(port)
    wait_for_upstream(ada, true)
    publish(again, { { symbol = "GOLD", price = 2 } })
    wait_for_price(ada, "GOLD", 2)
    wait_for_price(bob, "GOLD", 2)
  end)

  it("notices an upstream that is silent but not closed", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream,
      feed_with("ping_period = 10", "ping_period = 0.1", "pong_period = 25", "pong_period = 3"))
    local ada = join(bridge)
    publish(upstream, { { symbol = "GOLD", price = 1 } })
    wait_for_price(ada, "GOLD", 1)
    upstream:signal("sigstop")
    wait_for_upstream(ada, false)
    upstream:signal("sigcont")
    wait_for_upstream(ada, true)
  end)

  it("gives a client that is behind the newest price of each symbol", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream)
    local bob = join(bridge, bridge.directory .. "/bridge.sock")
    publish(upstream, { { symbol = "GOLD", price = 0 } })
    wait_for_price(bob, "GOLD", 0)
    bob.peer.stream:pause()
    local price = publish_until_replaced(upstream, bridge)
    bob.peer.stream:catch_up()
    local before, count = {}, #bob.list
    -- each leaves at the place of the one that it replaced
    while bob.prices.GOLD ~= price or bob.prices.TIN ~= price or bob.prices.ZINC ~= price do
      for symbol, now in pairs(take(bob).prices or {}) do
        assert.is_true(now > (before[symbol] or 0), symbol)
        before[symbol] = now
      end
    end
    assert.is_true(#bob.list - count < 3 * price)
  end)

  it("sends all prices again to a client whose queue was full", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream, nil, "16K")
    local bob = join(bridge, bridge.directory .. "/bridge.sock")
    wait_for_upstream(bob, true)
    bob.peer.stream:pause()
    local price = 0
    repeat -- until bob's socket is full, and then the queue
      price = price + 1
      assert(price < 1000, "no price is dropped")
      local messages = {}
      for number = 1, 600 do messages[number] = { symbol = "S" .. number, price = price } end
      publish(upstream, messages)
      wait_for_price(enter(bridge), "S600", price)
    until stat(bridge, "messages_dropped") > 0
    bob.peer.stream:catch_up()
    take_until(bob, function()
      for number = 1, 600 do
        if bob.prices["S" .. number] ~= price then return false end
      end
      return true
    end)
  end)

  it("drops messages that are no prices, and goes on", function()
    local upstream <close> = start_upstream()
    local bridge <close> = start_bridge(upstream)
    local ada = join(bridge)
    wait_for_upstream(ada, true)
    publish(upstream, {
      { 1, 2 }, { symbol = ("x"):rep(100), price = 1 }, { symbol = "TIN" },
      { symbol = "GOLD", price = 7 },
    })
    wait_for_price(ada, "GOLD", 7)
    assert.same({ GOLD = 7 }, ada.prices)
    assert.equal(3, #bridge:log_lines('message="no price"'))
  end)

  it("says goodbye to both sides when it ends", function()
    local upstream <close> = start_upstream()
    local bridge = start_bridge(upstream)
    local ada = join(bridge)
    publish(upstream, { { symbol = "GOLD", price = 1 } })
    wait_for_price(ada, "GOLD", 1)
    bridge:signal("sigterm")
    assert.equal(1001, (ada.peer:wait_closed()))
    assert.equal(1001, upstream:wait_event("closed")[2])
    bridge:stop()
  end)
end)
