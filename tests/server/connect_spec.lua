-- connect_spec.lua -- tw.connect between real programs: to Tidewire itself, and to a server of the
-- test's own (support/upstream.lua). connect_hostile_spec.lua has servers that break the rules.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local upstream = require "support.upstream"

-- "/run" runs a message as Lua, which may wait, and sends what it returned. The other endpoints are
-- there to be connected to.
local APP = [[
local tw = require "tidewire"
local record = require "record"
local kept = {}

local function values(...)
  local list = tw.array()
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if value == nil then value = tw.null end
    list[i] = type(value) == "table" and value ~= tw.null and tw.inspect(value) or value
  end
  return list
end

return {
  endpoints = {
    ["/run"] = {
      handler_timeout = 60,
      codec = "json",
      handle_message = function(conn, source)
        local f = assert(load(source, "=run", "t", setmetatable({ tw = tw, kept = kept, conn = conn,
          record = record }, { __index = _G })))
        conn:send(values(select(2, xpcall(f, function(err) return tostring(err) end))))
      end,
    },
    ["/echo"] = {
      max_message_size = "4M", max_backlog = "8M",
      handle_message = function(conn, message, kind)
        local code, reason = message:match("^close (%d+) ?(.*)")
        if code then return conn:close(tonumber(code), reason) end
        conn:send(message, kind)
      end,
      on_close = function(_, code, reason) record("closed", code, reason) end,
    },
    ["/named"] = {
      subprotocols = { "one", "two" }, validate = function(request)
        if request.headers["x-token"] ~= "secret" then return false, 401, "who are you?" end
        return true
      end,
      on_start = function(conn) conn:send(conn.request.headers.host) end,
    },
    ["/waits"] = {
      validate = function(request)
        return tw.connect("ws://127.0.0.1:1/") and true
      end,
    },
  },
}
]]

local app, ada

--- Runs Lua in the program. `$URL` is where it listens, `$TLS` options that accept its certificate.
local function run(source, url)
  url = url or app:url("")
  source = source:gsub("%$URL", url)
    :gsub("%$TLS", url:find("^wss") and "tls = { verify = false }" or "tls = nil")
  local answer = ada:ask(cjson.encode(source), 60)
  local list = cjson.decode(answer)
  for i, value in ipairs(list) do if value == cjson.null then list[i] = "nil" end end
  return list
end

describe("tw.connect", function()
  setup(function()
    app = server.start({ app = APP, environment = { http_proxy = "127.0.0.1:9" } }) -- not used
  end)
  teardown(function() app:stop() end)
  before_each(function() ada = app:connect("/run") end)
  after_each(function() ada:close() end)

  it("sends and receives text and bytes", function()
    assert.same({ "hello", "text", "\0\1\2", "binary", "", "text" }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      assert(client:send("hello"))
      assert(client:send("\0\1\2", "binary"))
      assert(client:send(""))
      local a, b = client:receive()
      local c, d = client:receive(10)
      local e, f = client:receive(10)
      client:close()
      return a, b, c, d, e, f
    ]])
  end)

  it("closes, and learns how the other side closes", function()
    assert.same({ "nil", "closed", 4001, "so long", "nil", "closed" }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      client:send("close 4001 so long")
      local a, b, c, d = client:receive()
      return a, b, c, d, client:send("more")
    ]])
    assert.same({ "nil", "closed", 3007, "enough", false }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      client:close(3007, "enough")
      local a, b, c, d = client:receive()
      return a, b, c, d, client:is_open()
    ]])
    local event = loop.wait_until(function()
      for _, each in ipairs(app:events("closed")) do if each[2] == 3007 then return each end end
    end)
    assert.same({ "closed", 3007, "enough" }, { event[1], event[2], event[3] })
  end)

  it("delivers messages that came before the close first", function()
    assert.same({ "one", "two", "nil", "closed", 1000 }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      client:send("one")
      client:send("two")
      client:send("close 1000")
      tw.sleep(0.05)
      local a, b = client:receive(), client:receive()
      local c, d, e = client:receive()
      return a, b, c, d, e
    ]])
  end)

  it("sends headers, and negotiates a subprotocol", function()
    local list = run [[
      local client, problem = tw.connect("$URL/named", { $TLS,
        headers = { ["X-Token"] = "secret" }, subprotocols = { "two", "one" } })
      return client.subprotocol, client:receive(10)
    ]]
    assert.same({ "one", "text" }, { list[1], list[3] })
    assert.equal(app:url(""):match("//(.*)"), list[2])
  end)

  it("closes a client with its block, after an error too", function()
    assert.same({ 1000, 1000, 1000 }, run [[
      local first, second, third
      do
        local client <close> = assert(tw.connect("$URL/echo", { $TLS }))
        first = client
      end
      pcall(function()
        local client <close> = assert(tw.connect("$URL/echo", { $TLS }))
        second = client
        error "oops"
      end)
      local thread = coroutine.create(function()
        local client <close> = assert(tw.connect("$URL/echo", { $TLS }))
        third = client
        client:receive()
      end)
      tw.spawn(coroutine.resume, thread)
      repeat tw.sleep(0.001) until third
      coroutine.close(thread)
      local codes = {}
      for i, client in ipairs { first, second, third } do
        codes[i] = select(3, client:receive())
      end
      return table.unpack(codes)
    ]])
  end)

  it("returns what prevents it", function()
    assert.same({ "nil", "the server answered 401", 401, "integer" }, run [[
      local client, problem, status = tw.connect("$URL/named", { $TLS })
      return client, problem, status, math.type(status)
    ]])
    assert.same({ "nil", "the server answered 404", 404 },
      run 'return tw.connect("$URL/no", { $TLS })')
    assert.same({ "nil", "connection refused", "nil" },
      run 'return tw.connect("ws://127.0.0.1:1/")')
    assert.same({ "nil", "could not resolve host", "nil" },
      run 'return tw.connect("ws://no.invalid/")')
    assert.same({ "nil", "no such file or directory" },
      run 'return tw.connect("unix:/nothing/there.sock")')
  end)

  it("gives up after `timeout`", function()
    local silent <close> = upstream.start(function() end)
    assert.same({ "nil", "timed out after 0.05 s", "nil" },
      run('return tw.connect("$URL/", { timeout = 0.05 })', silent.url))
  end)

  it("writes nothing of its library to the log", function()
    assert.same({}, app:log_lines("event=libwebsockets"))
  end)

  it("throws where nothing can wait", function()
    assert.equal(500, select(2, client.connect(app:url("/waits"))))
    assert.is_truthy(app:wait_for_log("validate must answer at once"))
  end)
end)

describe("client:receive", function()
  setup(function()
    app = server.start({ app = APP })
  end)
  teardown(function() app:stop() end)
  before_each(function() ada = app:connect("/run") end)
  after_each(function() ada:close() end)

  it("waits through any silence where pong_period is 0", function()
    assert.same({ "nil", "timeout", true, "late" }, run [[
      local client =
        assert(tw.connect("$URL/echo", { $TLS, ping_period = 0, pong_period = 0 }))
      local message, why = client:receive(0.05)
      return message, why, client:send("late"), (client:receive())
    ]])
  end)

  it("gives up after its timeout, and receives what comes later", function()
    assert.same({ "nil", "timeout", "nil", "timeout", "late" }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      local a, b = client:receive(0)
      local c, d = client:receive(0.02)
      client:send("late")
      return a, b, c, d, (client:receive(10))
    ]])
  end)

  it("serves several callers in the order of their calls", function()
    assert.same({ "1=one 2=two 3=timeout 4=three 5=closed " }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      local order, done = "", 0
      local function receive(name, timeout)
        tw.spawn(function()
          local value, why = client:receive(timeout)
          order = order .. name .. "=" .. (value or why) .. " "
          done = done + 1
        end)
      end
      local function wait(count) while done < count do tw.sleep(0.001) end end
      for i = 1, 5 do receive(i, i == 3 and 0.3 or nil) end
      tw.sleep(0.01)
      client:send("one")
      wait(1)
      client:send("two")
      wait(3)
      client:send("three")
      wait(4)
      client:close()
      wait(5)
      return order
    ]])
  end)

  it("is what messages() calls", function()
    assert.same({ "one text two binary ", "closed", 1001 }, run [[
      local client = assert(tw.connect("$URL/echo", { $TLS }))
      client:send("one")
      client:send("two", "binary")
      client:send("close 1001")
      local got = ""
      for message, kind in client:messages() do got = got .. message .. " " .. kind .. " " end
      local _, why, code = client:receive()
      return got, why, code
    ]])
  end)
end)

describe("clients", function()
  it("of several workers begin and end at once", function()
    local other <close> = upstream.start()
    for round = 1, 4 do
      local many <close> = server.start({
        workers = 3, environment = { OTHER = other.url }, app = [[
          local tw = require "tidewire"
          return {
            on_load = function()
              CLIENT = assert(tw.connect(os.getenv("OTHER")))
              tw.spawn(function() tw.log.info("closed", { code = select(3, CLIENT:receive()) }) end)
            end,
            endpoints = { ["/"] = {} },
          }
        ]],
      })
      assert.equal(3 * round, #other.requests)
      many:stop()
    end
  end)

  it("end with the program", function()
    local other <close> = upstream.start()
    local ending <close> = server.start({
      workers = 1, environment = { OTHER = other.url }, app = [[
        local tw = require "tidewire"
        local record = require "record"
        return {
          on_load = function()
            local client = assert(tw.connect(os.getenv("OTHER")))
            tw.spawn(function() record("end", select(2, client:receive())) end)
          end,
          on_stop = function() record("stop") end,
          endpoints = { ["/"] = {} },
        }
      ]],
    })
    ending:signal("sigterm")
    local peer = other.peers[1]
    assert.equal(1001, string.unpack(">I2", upstream.wait_frame(peer, "close").payload))
    ending:wait_event("end")
    assert.equal("stop end", ending:event_names())
    assert.same({ "closed", 1001, "server is shutting down" },
      { table.unpack(ending:events("end")[1], 2, 4) })
    ending:stop()
  end)
end)

describe("a client", function()
  local other
  setup(function()
    app = server.start({ app = APP, workers = 1, options = { "--admin", "127.0.0.1:0" } })
  end)
  teardown(function() app:stop() end)
  before_each(function()
    ada = app:connect("/run")
    other = upstream.start()
  end)
  after_each(function()
    ada:close()
    other:close()
  end)

  local function open(options)
    run("kept.client = assert(tw.connect('$URL', " .. (options or "{}") .. "))", other.url)
    return other.peers[#other.peers]
  end

  it("stops reading while `max_inbox` bytes wait, and loses nothing", function()
    local peer = open("{ max_inbox = 1000 }")
    local text = ("x"):rep(10000)
    local sent = 0
    for i = 1, 2000 do
      peer.handle:write(upstream.frame("text", i .. " " .. text), function() sent = sent + 1 end)
    end
    loop.pass(0.1)
    assert.is_true(sent < 2000, "20 MB were taken") -- 6 MB are the most that sockets keep
    assert.same({ true, 2000 }, run [[
      local good = true
      for i = 1, 2000 do
        good = good and kept.client:receive(60):match("^%d+") == tostring(i)
      end
      return good, 2000
    ]])
  end)

  it("sends no more than `max_backlog` to a server that does not read", function()
    local peer = open("{ max_backlog = 100000 }")
    peer.handle:read_stop()
    local list = run [[
      local count, ok, why = 0
      repeat
        ok, why = kept.client:send(("x"):rep(10000))
        if ok then count = count + 1 end
        if count % 20 == 0 then tw.sleep(0) end
      until not ok
      return why, count
    ]]
    assert.equal("backlog", list[1])
    peer.handle:read_start(peer.on_read)
    upstream.wait_frame(peer, "text", list[2])
    assert.same({ true }, run 'return kept.client:send("more")')
    upstream.wait_frame(peer, "text", list[2] + 1)
  end)

  it("answers pings, and closes when the server is silent", function()
    local peer = open("{ ping_period = 0.02, pong_period = 0.2 }")
    peer:write(upstream.frame("ping", "are you there?"))
    assert.equal("are you there?", upstream.wait_frame(peer, "pong").payload)
    upstream.wait_frame(peer, "ping", 3)
    assert.same({ "nil", "closed", 1006, "timed out" }, run "return kept.client:receive(60)")
  end)

  it("does not ask, and closes never, with periods of 0", function()
    local peer = open("{ ping_period = 0, pong_period = 0 }")
    loop.pass(0.1)
    assert.same({}, peer.frames)
    assert.same({ true }, run "return kept.client:is_open()")
  end)

  it("does not take a server for silent that sends anything", function()
    local peer = open("{ ping_period = 0.01, pong_period = 0.5 }")
    for count = 1, 60 do
      upstream.wait_frame(peer, "ping", count)
      peer:write(upstream.frame("pong", ""))
    end
    assert.same({ true }, run "return kept.client:is_open()")
  end)

  it("closes when nothing refers to it", function()
    local peer = open()
    run "kept.client = nil collectgarbage()"
    local frame = upstream.wait_frame(peer, "close")
    assert.equal(1001, string.unpack(">I2", frame.payload))
  end)

  it("reads what came before a reset", function()
    local peer = open("{ max_inbox = 1 }") -- it reads one message, and no more yet
    local function received() return run("return tw.stats().upstream_messages_received")[1] end
    local before = received()
    peer:write(upstream.frame("text", "message 0"))
    assert.equal(before + 1, loop.ask_until(received, before + 1))
    local text = {}
    for i = 1, 199 do text[i] = upstream.frame("text", "message " .. i) end
    local sent
    peer.handle:write(table.concat(text) .. upstream.close_frame(1000, "over"),
      function() sent = true end)
    assert.is_true(loop.wait_until(function() return sent end))
    peer:abort()
    assert.same({ 200, "closed", 1000, "over" }, run [[
      local count = 0
      for message in kept.client:messages() do count = count + 1 end
      local _, why, code, reason = kept.client:receive()
      return count, why, code, reason
    ]])
  end)

  it("that is broken while it does not read lets the loop sleep", function()
    local peer = open("{ max_inbox = 1, ping_period = 0.05 }")
    local function received() return run("return tw.stats().upstream_messages_received")[1] end
    local before = received()
    peer:write(upstream.frame("text", "message"))
    assert.equal(before + 1, loop.ask_until(received, before + 1))
    peer:abort()
    -- with at most 20 pings, however slow the machine is
    local turns = run [[
      local uv, turns = require "luv", 0
      local prepare = uv.new_prepare()
      prepare:start(function() turns = turns + 1 end)
      for _ = 1, 20 do tw.sleep(0.05) end
      prepare:close()
      return turns
    ]][1]
    assert(turns < 300, turns .. " turns of the loop")
  end)
end)

describe("at a reload", function()
  it("clients of the old code close, but those that are kept", function()
    local other <close> = upstream.start()
    local function source(number)
      return ([[
        local tw = require "tidewire"
        local record = require "record"
        local kept = tw.keep("clients", {})
        return {
          on_load = function()
            local client = assert(tw.connect(os.getenv("OTHER"), { headers = { X = "%d" } }))
            if %d == 1 then kept.client = assert(tw.connect(os.getenv("OTHER"))) end
            tw.spawn(function()
              for message in client:messages() do record("message", message) end
              record("end")
            end)
          end,
          endpoints = { ["/"] = {} },
        }
      ]]):format(number, number)
    end
    local changing <close> = server.start({
      app = source(1), workers = 1, environment = { OTHER = other.url },
    })
    assert.equal(2, #other.requests)
    reloads.good(changing, { ["app.lua"] = source(2) })
    local old, kept, new = other.peers[1], other.peers[2], other.peers[3]
    assert.equal(1001, string.unpack(">I2", upstream.wait_frame(old, "close").payload))
    new:write(upstream.frame("text", "for the new code"))
    assert.equal("for the new code", changing:wait_event("message")[2])
    assert.same({}, kept.frames)
    assert.equal("message", changing:event_names())
  end)
end)

describe("tw.connect refuses", function()
  setup(function()
    app = server.start({ app = APP })
    ada = app:connect("/run")
  end)
  teardown(function() app:stop() end)

  for name, case in pairs({
    ["no URL"] = { "nil", "url must be a string, got nil" },
    ["another scheme"] = { '"ftp://x"', 'url "ftp://x": it must begin with ws:// or wss://' },
    ["an unknown option"] = { '"ws://x", { timout = 1 }',
      'unknown option "timout"; did you mean "timeout"?' },
    ["an unknown option of tls"] = { '"wss://x", { tls = { cert = "x" } }',
      'tls: unknown option "cert"' },
    ["a value of another type"] = { '"ws://x", { timeout = "soon" }',
      'timeout: expected a number of seconds, more than 0, got string "soon"' },
    ["a header of its own"] = { '"ws://x", { headers = { Upgrade = "h2c" } }',
      "header Upgrade: the handshake sets this header itself" },
    ["a line end"] = { '"ws://x", { headers = { X = "a\\r\\nb" } }',
      "header X: a value cannot have line ends" },
    ["a key without a certificate"] = { '"wss://x", { tls = { key = "x" } }',
      "tls: certificate and key belong together" },
    ["options of TLS without TLS"] = { '"ws://x", { tls = { verify = false } }',
      "tls: the URL is not encrypted; begin it with wss://, or leave tls out" },
    ["a header that is true"] = { '"ws://x", { headers = { X = true } }',
      "header X: a value must be a string or a number, got true" },
    ["a header that is a function"] = { '"ws://x", { headers = { X = { print } } }',
      "header X: a value must be a string or a number, got function" },
    ["a header that is no list"] = { '"ws://x", { headers = { X = { a = "b" } } }',
      "header X: a table as value must be a list" },
    ["too many headers"] = { [["ws://x", (function()
        local values = {}
        for i = 1, 257 do values[i] = i end
        return { headers = { X = values } }
      end)()]], "headers: 257 are given, 256 are the most" },
    ["too many subprotocols"] = { [["ws://x", (function()
        local names = {}
        for i = 1, 33 do names[i] = "p" .. i end
        return { subprotocols = names }
      end)()]], "subprotocols: 33 are given, 32 are the most" },
    ["an unknown codec"] = { '"ws://x", { codec = "jsn" }', 'codec: there is no codec "jsn"' },
  }) do
    it(name, function()
      local message = run("local result = tw.connect(" .. case[1] .. ") return result")[1]
      local expected = "run:1: tw.connect: " .. case[2]
      assert.equal(expected, message:sub(1, #expected))
    end)
  end

  it("a value that cannot be sent", function()
    assert.matches("^run:1: client:send: a string is needed", run([[
      local result = assert(tw.connect("$URL/echo", { $TLS })):send({})
      return result
    ]])[1])
    assert.matches("^run:1: client:send: text must be valid UTF%-8", run([[
      local result = assert(tw.connect("$URL/echo", { $TLS })):send("\xff")
      return result
    ]])[1])
    assert.matches("^run:1: client:close: 1005 is no code", run([[
      local result = assert(tw.connect("$URL/echo", { $TLS })):close(1005)
      return result
    ]])[1])
  end)
end)
