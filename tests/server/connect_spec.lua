-- connect_spec.lua -- tw.connect between real programs: to Tidewire itself, and to a server of the
-- test's own (support/upstream.lua). connect_hostile_spec.lua has servers that break the rules.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
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
  source = source:gsub("%$URL", url or app:url(""))
    :gsub("%$TLS", "tls = { verify = false }")
  local answer = ada:ask(cjson.encode(source), 60)
  local list = cjson.decode(answer)
  for i, value in ipairs(list) do if value == cjson.null then list[i] = "nil" end end
  return list
end

describe("tw.connect", function()
  setup(function()
    app = server.start({ app = APP })
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
    assert.same({ "nil", "the server answered 401" }, run [[
      return tw.connect("$URL/named", { $TLS })
    ]])
    assert.same({ "nil", "the server answered 404" }, run 'return tw.connect("$URL/no", { $TLS })')
    assert.same({ "nil", "connection refused" }, run 'return tw.connect("ws://127.0.0.1:1/")')
    assert.same({ "nil", "could not resolve host" }, run 'return tw.connect("ws://no.invalid/")')
    assert.same({ "nil", "no such file or directory" },
      run 'return tw.connect("unix:/nothing/there.sock")')
  end)

  it("gives up after `timeout`", function()
    local silent <close> = upstream.start(function() end)
    assert.same({ "nil", "timed out after 0.05 s" },
      run('return tw.connect("$URL/", { timeout = 0.05 })', silent.url))
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
