-- cluster_sessions_spec.lua -- sessions whose clients come back to another machine: three machines
-- and a real Redis. No message is lost and none comes twice, and a machine that is dead or silent
-- costs the client its session and two seconds.

local loop = require "support.loop"
local redis_server = require "support.redis"
local server = require "support.server"
local session = require "support.session"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
local record = require "record"
local room = tw.room("hall")
return {
  cluster = "%s",
  rooms = { ["log:*"] = { history = 1000 } },
  endpoints = {
    ["/chat"] = {
      resume = { seconds = 600, messages = 100000, bytes = "8M" },
      ping_period = 0,
      user = function(conn) return conn.nick end,
      validate = function(request) return { nick = request.query.name } end,
      on_start = function(conn)
        record("start", conn.id)
        conn.told = {}
        conn:join("hall", { nick = conn.nick })
        conn:join("log:1")
      end,
      on_disconnect = function(conn, code) record("disconnect", conn.id, code) end,
      on_resume = function(conn) record("resume", conn.id) end,
      on_close = function(conn, code, reason) record("close", conn.id, code, reason) end,
      handle_message = function(conn, message)
        local word, rest = message:match("^(%%S+) ?(.*)$")
        if word == "n" then -- a number of the client's
          conn.told[#conn.told + 1] = tonumber(rest)
        elseif word == "told" then
          for i, n in ipairs(conn.told) do assert(i == n, "told " .. n .. " as number " .. i) end
          conn:send("told " .. #conn.told)
        elseif word == "facts" then
          conn.run = print
          conn:send(table.concat({ conn.id, conn.nick, conn.user, #conn.told,
            table.concat(conn:rooms(), "+"), conn.request.query.more or "-" }, " "))
        elseif word == "sleep" then
          tw.sleep(tonumber(rest))
        elseif word == "timer" then
          conn:every(0.05, function() record("timer") end)
        end
      end,
    },
    ["/tools"] = {
      ping_period = 0,
      handle_message = function(conn, message)
        local word, rest = message:match("^(%%S+) ?(.*)$")
        if word == "say" then
          room:broadcast(rest)
          conn:send("ok")
        elseif word == "pause" then
          tw.sleep(0.2)
          record("pause")
          conn:send("ok")
        elseif word == "log" then
          tw.room("log:1"):broadcast(rest)
          conn:send("ok")
        elseif word == "all" then
          tw.broadcast(rest)
        elseif word == "flood" then -- NAME COUNT: to the room, a few in each turn
          local name, count = rest:match("(%%S+) (%%d+)")
          for i = 1, tonumber(count) do
            room:broadcast(name .. " " .. i)
            if i %% 3 == 0 then tw.sleep(0.001) end
          end
          conn:send("ok")
        elseif word == "send" then
          local id, text = rest:match("(%%S+) (.*)")
          conn:send(tostring((tw.send(id, text))))
        elseif word == "members" then
          local names = {}
          for _, member in ipairs(room:members()) do names[#names + 1] = member.info.nick end
          table.sort(names)
          conn:send(table.concat(names, " ") .. ".")
        elseif word == "user" then
          conn:send(tostring(tw.user(rest):online()))
        elseif word == "waiting" then
          conn:send(tostring(tw.stats().sessions_waiting))
        end
      end,
    },
  },
}
]]

describe("a session in a cluster", function()
  local redis, machines, tools

  lazy_setup(function()
    redis = redis_server.start()
    machines = {}
  end)
  lazy_teardown(function()
    for _, one in pairs(machines) do one:stop() end
    redis:stop()
  end)

  local function start(i, workers)
    machines[i] = server.start({ app = APP:format(redis.url), workers = workers or i })
  end

  --- A connection by which the test speaks with the scripts of a machine.
  local function tool(i)
    tools[i] = tools[i] or machines[i]:connect("/tools")
    return tools[i]
  end

  before_each(function()
    tools = {}
    for i = 1, 3 do
      if not machines[i] then start(i) end
    end
  end)
  after_each(stream.close_all)

  local function path(name, more) return ("/chat?name=%s%s"):format(name, more or "") end

  --- Lets the client come back to another machine. Returns the session message.
  local function move(peer, i, name, more)
    peer.url = machines[i]:url(path(name, more))
    return assert(peer:connect())
  end

  local function begin(i, name, more)
    return session.start(machines[i]:url(path(name, more)))
  end

  it("goes on with its id, its fields, its user, its rooms and what was not sent", function()
    local ada = begin(1, "ada", "&more=1")
    ada:send("n 1")
    local id = ada:ask("facts"):match("^%S+")
    assert.equal("ok", (tool(3):ask("say one")))
    assert.equal("one", (ada:receive()))
    ada:send("timer")
    ada.socket:abort()
    machines[1]:wait_event("disconnect")
    tool(3):ask("say two")
    tool(2):ask("say three")
    tool(1):ask("say four")
    assert.equal("true", (tool(2):ask("send " .. id .. " five")))
    assert.is_true(move(ada, 2, "ada").resumed)
    local missed = {}
    for i = 1, 4 do missed[i] = ada:receive() end
    table.sort(missed) -- messages of different machines have no sequence
    assert.same({ "five", "four", "three", "two" }, missed)
    assert.equal(id .. " ada ada 1 hall+log:1 -", (ada:ask("facts")))
    assert.equal("ada.", (tool(2):ask("members")))
    assert.equal("true", (tool(2):ask("user ada")))
    for i = 1, 3 do
      assert.equal("true", (tool(i):ask(("send %s from %d"):format(id, i))))
      assert.equal("from " .. i, (ada:receive()))
    end
    -- its timer has ended there, and there was no on_close
    tool(1):ask("pause")
    machines[1]:wait_event("pause")
    local timers = #machines[1]:events("timer")
    tool(1):ask("pause")
    machines[1]:wait_event("pause", 2)
    assert.equal(timers, #machines[1]:events("timer"))
    assert.equal("start disconnect",
      (machines[1]:event_names():gsub(" timer", ""):gsub(" pause", "")))
    machines[2]:wait_event("resume")
    assert.equal("resume", machines[2]:event_names())
    ada.socket:close(1000)
    machines[2]:wait_event("close")
    for i = 1, 3 do
      assert.equal("0", (tool(i):ask("waiting")))
    end
    assert(loop.wait_until(function() return redis:command("KEYS", "*:s:*") == "" end))
  end)

  it("takes the place of a socket that is still open", function()
    local bob = begin(1, "bob")
    local before = bob.socket
    assert.is_true(move(bob, 3, "bob").resumed)
    assert.equal(4409, (before:wait_closed()))
    assert.is_true(move(bob, 1, "bob").resumed) -- and back
    assert.is_true(move(bob, 1, "bob").resumed)
    bob:send("n 1")
    assert.equal("told 1", (bob:ask("told")))
    bob.socket:close(1000)
  end)

  it("gets each message of a room once and in order, whoever sends it, and so does the server",
    function()
      local cat = begin(1, "cat")
      assert.equal("told 0", (cat:ask("told"))) -- it has joined
      local COUNT, said, at = 400, 0, 1
      for i = 1, 3 do tool(i):send_text(("flood m%d %d"):format(i, COUNT)) end
      local seen = { m1 = 0, m2 = 0, m3 = 0 }
      local function is_done() return seen.m1 + seen.m2 + seen.m3 == 3 * COUNT end
      while not is_done() do
        for _ = 1, 150 do
          if is_done() then break end
          local text = assert(cat:receive())
          local name, n = text:match("^(%S+) (%d+)$")
          assert.equal(seen[name] + 1, tonumber(n), text)
          seen[name] = tonumber(n)
          said = said + 1
          cat:send("n " .. said)
        end
        at = at % 3 + 1
        if said % 2 == 0 then cat.socket:abort() end
        assert.is_true(move(cat, at, "cat").resumed)
      end
      assert.equal("told " .. said, (cat:ask("told")))
      cat.socket:close(1000)
    end)

  it("gets what goes to all connections once, and in order", function()
    local dan = begin(1, "dan")
    assert.equal("told 0", (dan:ask("told")))
    for i = 1, 30 do
      local at = i % 3 + 1
      tool(1):send_text("all a" .. i)
      tool(2):send_text("all b" .. i)
      tool(3):send_text("all c" .. i)
      if i % 10 == 0 then assert.is_true(move(dan, at, "dan").resumed) end
    end
    local seen = { a = 0, b = 0, c = 0 }
    for _ = 1, 90 do
      local name, n = assert(dan:receive()):match("^(%a)(%d+)$")
      assert.equal(seen[name] + 1, tonumber(n), name)
      seen[name] = tonumber(n)
    end
    dan.socket:close(1000)
  end)

  it("is given to one of two machines that ask at once", function()
    for round = 1, 5 do
      local eve = begin(1, "eve")
      eve.socket:abort()
      local raw, texts, resumed = {}, {}, 0
      local url = ("%s&session=%s&received=0"):format(path("eve"), eve.secret)
      for i = 2, 3 do raw[i] = machines[i]:connect(url) end
      for i = 2, 3 do
        texts[i] = raw[i]:receive()
        if texts[i] and texts[i]:find('"resumed":true', 1, true) then resumed = resumed + 1 end
      end
      assert.equal(texts[2] and texts[3] and 2 or 1, resumed, "round " .. round)
      -- one of them has it now
      local open
      for i = 2, 3 do
        raw[i]:send_text("told")
        local answer, _, code = raw[i]:receive()
        if answer then
          assert.equal("told 0", answer)
          assert.is_nil(open)
          open = i
        else
          assert.equal(4409, code)
        end
      end
      local closes = #machines[open]:events("close")
      raw[open]:close(1000)
      machines[open]:wait_event("close", closes + 1)
    end
  end)

  it("stays where it is if its client leaves meanwhile", function()
    local fay = begin(1, "fay")
    fay:send("sleep 0.3")
    local url = ("%s&session=%s&received=0"):format(path("fay"), fay.secret)
    local raw = stream.connect(machines[2].addresses[1])
    raw:write("GET " .. url .. " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
      .. "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    raw:flush()
    assert.equal(4409, (fay.socket:wait_closed())) -- it is asked for
    raw:abort()
    assert.is_true(move(fay, 3, "fay").resumed)
    fay:send("n 1")
    assert.equal("told 1", (fay:ask("told")))
    fay.socket:close(1000)
  end)

  it("is a new one at once while Redis is away, and never hangs", function()
    local jon = begin(1, "jon")
    local function keys()
      return select(2, redis:command("KEYS", "*:s:*"):gsub("[^\n]+", ""))
    end
    local before = keys()
    redis:kill()
    assert.is_false(move(jon, 2, "jon").resumed)
    redis:start()
    local kim = begin(2, "kim")
    local id = kim:ask("facts"):match("^%S+")
    assert(loop.wait_until(function()
      return keys() > before and tool(1):ask("send " .. id .. " hello") == "true"
    end, 30))
    assert.is_true(move(kim, 1, "kim").resumed)
    assert.is_true(move(jon, 1, "jon").resumed)
  end)

  it("is a new one when its machine is silent or dead, or a hook keeps it", function()
    start(4, 1)
    local gus, hal, ida = begin(1, "gus"), begin(2, "hal"), begin(3, "ida")
    gus:send("sleep 5")
    for _, peer in ipairs { gus, hal, ida } do peer.socket:abort() end
    finally(function() machines[2]:signal("sigcont") end)
    machines[2]:signal("sigstop")
    machines[3]:kill()
    machines[3] = nil
    -- another machine has their new sessions, after two seconds
    local raw = {}
    for name, peer in pairs { gus = gus, hal = hal, ida = ida } do
      local url = ("%s&session=%s&received=0"):format(path(name), peer.secret)
      local connection = stream.connect(machines[4].addresses[1])
      connection:write("GET " .. url .. " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
        .. "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
      raw[#raw + 1] = connection
    end
    machines[4]:wait_event("start", 3)
    for _, connection in ipairs(raw) do connection:close() end
    machines[4]:stop()
    machines[4] = nil
  end)
end)
