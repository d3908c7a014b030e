-- sessions_spec.lua -- the option `resume`: a connection that outlives its socket.

local client = require "support.client"
local loop = require "support.loop"
local server = require "support.server"
local session = require "support.session"
local stream = require "support.stream"

local APP = [[
  local record, tw = require "record", require "tidewire"
  local handler = {
    resume = { seconds = 30 },
    ping_period = 0,
    validate = function(request)
      if request.query.refuse then return nil, 403 end
      return { token = request.query.token, name_of = request.query.name }
    end,
    on_start = function(conn)
      conn.lines = 0
      conn:join("all")
      record("start", conn.name_of, conn.connected)
    end,
    handle_message = function(conn, message)
      conn.lines = conn.lines + 1
      local count = message:match("^count (%d+)$")
      local id, text = message:match("^to (%w+) (.*)$")
      if count then
        for i = 1, tonumber(count) do conn:send("n " .. i) end
      elseif id then
        conn:send(tostring(tw.send(id, text)))
      elseif message:find("^all ") then
        tw.room("all"):broadcast(message)
      elseif message == "id" then
        conn:send(conn.id)
      elseif message:find("^close") then
        conn:close(4321, "enough")
      else
        conn:send(("%d %s %s"):format(conn.lines, message, tostring(conn.token)))
      end
    end,
    on_disconnect = function(conn, code)
      record("disconnect", conn.name_of, code, conn.connected)
    end,
    on_resume = function(conn, request)
      record("resume", conn.name_of, request.query.token, conn.connected)
    end,
    on_close = function(conn, code, reason) record("close", conn.name_of, code, reason) end,
  }
  return { endpoints = { ["/s"] = handler, ["/check"] = {
    resume = true,
    on_error = function() return false end,
    on_start = function(conn) conn:send("private") end,
    on_resume = function(conn, request)
      if request.query.throws then error("no user") end
      if request.query.returns then return nil, "no user" end
    end,
  } } }
]]

describe("a session", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function start(name, query)
    return session.start(app:url("/s?name=" .. name .. (query or "")))
  end

  local function wait_event(...)
    local wanted = table.pack(...)
    assert.is_true(loop.wait_until(function()
      for _, event in ipairs(app:events()) do
        local same = true
        for i = 1, wanted.n do same = same and event[i] == wanted[i] end
        if same then return true end
      end
    end), "no event " .. wanted[1] .. " of " .. tostring(wanted[2]))
  end

  it("does not go on after an error in on_resume, whatever on_error says", function()
    for _, query in ipairs { "?throws=1", "?returns=1" } do
      local ada = session.start(app:url("/check"))
      assert.equal("private", (ada.socket:receive()))
      ada.socket:abort()
      ada.url = app:url("/check" .. query)
      local greeting, _, code, reason = ada:connect()
      assert.is_nil(greeting)
      assert.same({ 1011, "script error" }, { code, reason })
    end
  end)

  it("begins with the session message, and an ordinary connection without it", function()
    local ada = start("ada")
    assert.same({ type = "session", resumed = false, received = 0 }, ada.greeting)
    assert.equal("1 hi nil", ada:ask("hi"))
    local plain = assert(client.connect(app:url("/s?name=plain")))
    assert.equal("1 hi nil", plain:ask("hi"))
  end)

  it("waits when its socket is lost, and loses and doubles nothing", function()
    local bob, eve = start("bob"), start("eve")
    local id = bob:ask("id")
    assert.equal("2 a nil", bob:ask("a"))
    bob.socket:abort()
    wait_event("disconnect", "bob", 1006, false)
    for i = 1, 20 do assert.equal("true", eve:ask("to " .. id .. " line " .. i)) end
    eve:send("all hello")
    assert.equal("all hello", eve:receive())
    assert.same({ type = "session", resumed = true, received = 2 }, bob:connect())
    for i = 1, 20 do assert.equal("line " .. i, bob:receive()) end
    assert.equal("all hello", bob:receive())
    assert.equal("3 b nil", bob:ask("b"))
    assert.equal(id, bob:ask("id"))
    wait_event("resume", "bob", nil, true)
  end)

  it("gets again what it had not read, and the server what it had not got", function()
    local ada = start("flood")
    ada:send("count 500")
    for i = 1, 100 do assert.equal("n " .. i, ada:receive()) end
    ada.socket:abort()
    ada.sent[2] = "never sent" -- the client has sent it into a socket that was dead
    assert.is_true(ada:connect().resumed)
    assert.equal(1, ada.greeting.received)
    for i = 101, 500 do assert.equal("n " .. i, ada:receive()) end
    assert.equal("2 never sent nil", ada:receive())
  end)

  it("takes the fields of validate and the request of the new handshake", function()
    local ada = start("fields", "&token=old")
    assert.equal("1 x old", ada:ask("x"))
    ada.socket:abort()
    ada.url = ada.url:gsub("old", "new")
    assert.is_true(ada:connect().resumed)
    assert.equal("2 y new", ada:ask("y"))
    wait_event("resume", "fields", "new", true)
  end)

  it("asks validate at each return", function()
    local ada = start("asked")
    ada.socket:abort()
    ada.url = ada.url .. "&refuse=1"
    local greeting, status = ada:connect()
    assert.is_nil(greeting)
    assert.equal(403, status)
    ada.url = ada.url:gsub("&refuse=1", "")
    assert.is_true(ada:connect().resumed)
  end)

  it("replaces a socket that is not known to be dead", function()
    local ada = start("twice")
    assert.equal("1 a nil", ada:ask("a"))
    local old = ada.socket
    assert.is_true(ada:connect().resumed)
    assert.equal("2 b nil", ada:ask("b"))
    assert.same({ 4409, "replaced" }, { old:wait_closed() })
    wait_event("disconnect", "twice", 4409, false)
  end)

  it("ends when the client closes with 1000 or the script closes", function()
    local ada, bob = start("leaves"), start("thrown")
    ada.socket:close(1000)
    wait_event("close", "leaves", 1000, "")
    assert.is_false(ada:connect().resumed)
    bob:send("close")
    assert.same({ 4321, "enough" }, { bob.socket:wait_closed() })
    wait_event("close", "thrown", 4321, "enough")
    assert.is_false(bob:connect().resumed)
  end)

  it("waits after any other Close frame, which is answered", function()
    local ada = start("navigates")
    assert.equal(1001, (ada.socket:close(1001)))
    wait_event("disconnect", "navigates", 1001, false)
    assert.is_true(ada:connect().resumed)
  end)
end)
