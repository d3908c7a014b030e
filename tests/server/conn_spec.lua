-- conn_spec.lua -- the `conn` of hooks: each of its fields and methods, and its request.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

-- (client.ask returns the kind as well, which cjson.decode takes for an argument too many)
local function decode(text) return cjson.decode(text) end

local APP = [[
local tw = require "tidewire"
local kept = {}
return {
  endpoints = {
    ["/game/:room"] = {
      codec = "json",
      subprotocols = { "v1" },
      on_start = function(conn) kept[conn.id] = conn end,
      handle_message = function(conn)
        conn:send({
          id = conn.id, name = conn.name, path = conn.path, params = conn.params,
          query = conn.query, remote_address = conn.remote_address, secure = conn.secure,
          subprotocol = conn.subprotocol, started_at = conn.started_at, rtt = conn.rtt or "unknown",
          backlog = conn.backlog, open = conn:is_open(), text = tostring(conn),
          same = kept[conn.id] == conn,
        })
      end,
    },
    ["/named"] = { name = "the lobby", handle_message = function(conn) conn:send(conn.name) end },
    ["/request"] = {
      codec = "json",
      origins = "https://example.com",
      validate = function(request) return { seen = request } end,
      handle_message = function(conn, name)
        local request = conn.request
        if name == "same" then return conn:send(rawequal(conn.seen, request)) end
        if name == "fields" then
          return conn:send({
            method = request.method, path = request.path, query = request.query,
            cookies = request.cookies, remote_address = request.remote_address,
            secure = request.secure, origin = request.origin, subprotocols = #request.subprotocols,
            body = request.body or "none",
          })
        end
        conn:send(request.headers[name] or "none")
      end,
    },
    ["/custom"] = {
      on_start = function(conn)
        conn.username = "ada"
        conn.things = { list = { 1, 2, 3 } }
        conn.count = 0
      end,
      handle_message = function(conn, message)
        conn.count = conn.count + 1
        if message == "forget" then conn.username = nil end
        conn:send(("%s %d %d"):format(conn.username, #conn.things.list, conn.count))
      end,
    },
    ["/custom/number"] = {
      on_start = function(conn) conn[1], conn[2] = "first", "second" end,
      handle_message = function(conn) conn:send(conn[1] .. " " .. conn[2]) end,
    },
    ["/timers"] = {
      handle_message = function(conn, message)
        if message == "after" then
          conn:after(0.05, function() conn:send("later") end)
          conn:send("now")
        elseif message == "every" then
          local count = 0
          local timer
          timer = conn:every(0.02, function()
            count = count + 1
            conn:send("tick " .. count)
            if count == 3 then timer:cancel() conn:after(0.1, function() conn:send("end") end) end
          end)
        elseif message == "cancel" then
          local timer = conn:after(0.02, function() conn:send("never") end)
          timer:cancel()
          timer:cancel()
          conn:after(0.1, function() conn:send("cancelled") end)
        elseif message == "sleep in timer" then
          conn:after(0.01, function() tw.sleep(0.02) conn:send("slept") end)
        end
      end,
    },
    ["/send"] = {
      handle_message = function(conn, message)
        if message == "result" then return conn:send(tostring(conn:send("first"))) end
        if message == "kinds" then
          conn:send("text by default")
          conn:send("text", "text")
          conn:send("bytes \xff", "binary")
          return
        end
        if message == "many" then
          for index = 1, 1000 do conn:send("number " .. index) end
          return
        end
        local values = {
          table = {}, none = nil, ["function"] = print, boolean = true, ["not UTF-8"] = "\xff",
        }
        if message == "kind" then
          conn:send(tostring((pcall(conn.send, conn, "x", "neither"))))
        else
          conn:send(tostring((pcall(conn.send, conn, values[message]))))
        end
      end,
    },
    ["/dot"] = { handle_message = function(conn, how)
      conn:send(select(2, pcall(conn.send, how == "table" and { "no self" } or "no self")))
    end },
  },
}
]]

describe("conn", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("has the documented fields", function()
    local before = os.time()
    local ada =
      app:connect("/game/chess%201?level=hard&x=a+b%26c&empty=&flag", { subprotocols = { "v1" } })
    local seen = decode(ada:ask("0"))
    assert.is_string(seen.id)
    assert.equal("/game/:room", seen.name)
    assert.equal("/game/chess 1", seen.path)
    assert.same({ room = "chess 1" }, seen.params)
    assert.equal("hard", seen.query.level)
    assert.equal("a b&c", seen.query.x)
    assert.equal("", seen.query.empty)
    assert.equal("", seen.query.flag)
    assert.equal("127.0.0.1", seen.remote_address)
    assert.equal(app.addresses[1].tls or false, seen.secure)
    assert.equal("v1", seen.subprotocol)
    assert.is_true(seen.started_at >= before - 1 and seen.started_at <= os.time() + 1,
      "started_at are Unix seconds")
    assert.equal("unknown", seen.rtt)
    assert.equal(0, seen.backlog)
    assert.is_true(seen.open)
    assert.is_true(seen.same, "hooks are given different objects for one connection")
    assert.is_truthy(seen.text:find(seen.id, 1, true),
      "tostring(conn) does not name it: " .. seen.text)
  end)

  it("has an id that is short, stable, and no other connection's", function()
    local ids = {}
    for _ = 1, 100 do
      local ada = app:connect("/game/x")
      local id = decode(ada:ask("0")).id
      assert.equal(id, decode(ada:ask("0")).id)
      assert.is_nil(ids[id], "the id came twice: " .. id)
      assert.is_true(#id <= 24)
      ids[id] = true
      ada:drop()
    end
  end)

  it("is called as its handler says", function()
    assert.equal("the lobby", (app:connect("/named"):ask("?")))
  end)

  it("keeps the request that validate saw", function()
    local ada = app:connect("/request?q=1", {
      origin = "https://example.com",
      headers = { ["X-Token"] = "abc", Cookie = "session=xyz; theme=dark", ["X-Empty"] = "" },
    })
    for name, value in pairs({
      ["x-token"] = "abc", ["X-TOKEN"] = "abc", Host = "localhost", ["x-missing"] = "none",
      ["x-empty"] = "",
    }) do
      assert.equal(value, decode((ada:ask(cjson.encode(name)))), name)
    end
    assert.same({
      method = "GET", path = "/request", query = { q = "1" },
      cookies = { session = "xyz", theme = "dark" }, remote_address = "127.0.0.1",
      secure = app.addresses[1].tls or false, origin = "https://example.com", subprotocols = 0,
      body = "none",
    }, decode(ada:ask('"fields"')))
    assert.equal("true", (ada:ask('"same"')))
  end)

  it("joins a header that came twice", function()
    local ada = app:connect("/request", { headers = { ["X-List"] = "a", ["x-list"] = "b" } })
    local joined = ada:ask('"x-list"')
    assert.is_true(joined == '"a, b"' or joined == '"b, a"', joined)
  end)

  it("takes any field of the script's own", function()
    local ada, bob = app:connect("/custom"), app:connect("/custom")
    assert.equal("ada 3 1", (ada:ask("x")))
    assert.equal("nil 3 2", (ada:ask("forget")))
    assert.equal("ada 3 1", (bob:ask("x")))
  end)

  it("takes fields of the script's own under numbers as well", function()
    assert.equal("first second", (app:connect("/custom/number"):ask("x")))
  end)

  it("has timers: after, every, and their cancel", function()
    local ada = app:connect("/timers")
    assert.equal("now", (ada:ask("after")))
    assert.equal("later", (ada:receive()))
    ada:send_text("every")
    assert.same({ "tick 1", "tick 2", "tick 3", "end" }, ada:receive_many(4))
    assert.equal("cancelled", (ada:ask("cancel")))
    assert.equal("slept", (ada:ask("sleep in timer")))
  end)

  describe("send", function()
    it("returns true, and keeps the order", function()
      local ada = app:connect("/send")
      ada:send_text("result")
      assert.same({ "first", "true" }, ada:receive_many(2))
      ada:send_text("many")
      for index, message in ipairs(ada:receive_many(1000)) do
        assert.equal("number " .. index, message)
      end
    end)

    it("sends text by default", function()
      local ada = app:connect("/send")
      ada:send_text("kinds")
      assert.same({ "text by default", "text" }, { ada:receive() })
      assert.same({ "text", "text" }, { ada:receive() })
      assert.same({ "bytes \xff", "binary" }, { ada:receive() })
    end)

    it("throws for what the text codec cannot encode, and for a kind that is none", function()
      local ada = app:connect("/send")
      for _, what in ipairs({ "table", "none", "function", "boolean", "not UTF-8", "kind" }) do
        assert.equal("false", (ada:ask(what)), what)
      end
    end)

    it("called with a dot instead of a colon throws with the reason", function()
      for _, how in ipairs { "string", "table" } do
        assert.equal("send: call it with a colon, conn:send(value)", (app:connect("/dot"):ask(how)))
      end
    end)
  end)
end)
