-- sessions_limits_spec.lua -- a session that waits has its place in limits.connections, and its
-- client can come back to it.

local client = require "support.client"
local loop = require "support.loop"
local server = require "support.server"
local session = require "support.session"
local stream = require "support.stream"

local APP = [[
  local record, tw = require "record", require "tidewire"
  return {
    limits = { connections = 1 },
    endpoints = {
      ["/s"] = {
        resume = { seconds = 600 },
        ping_period = 0,
        validate = function(request)
          if request.query.refuse == "403" then return nil, 403 end
          if request.query.refuse == "4003" then return nil, 4003 end
          if request.query.refuse == "wait" then
            record("asked")
            tw.await(function() end)
          end
          return true
        end,
        handle_message = function(conn, message) conn:send(message) end,
        on_disconnect = function() record("disconnect") end,
        on_resume = function(_, request) return request.query.new == nil end,
        on_close = function() record("close") end,
      },
    },
  }
]]

describe("limits.connections", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function assert_full(url)
    assert.equal(503, (select(2, client.connect(url or app:url("/s")))))
  end

  local function lose(ada, count)
    ada.socket:abort()
    app:wait_event("disconnect", count)
  end

  it("has room for the return to a session that waits, and for no other socket", function()
    local ada = session.start(app:url("/s"))
    for round = 1, 3 do
      assert.equal("hello", ada:ask("hello"))
      assert_full()
      lose(ada, round)
      assert_full()
      assert_full(app:url("/s?session=of-nobody-of-nobody"))
      local greeting, status = ada:connect()
      assert.is_table(greeting, status)
      assert.is_true(greeting.resumed)
    end
    assert_full()
    ada.socket:close(1000)
    app:wait_event("close")
    assert.is_true(loop.ask_until(function() return client.connect(app:url("/s")) ~= nil end, true))
    assert_full()
  end)

  it("has it again after a return that validate refuses", function()
    local ada = session.start(app:url("/s"))
    local url = ada.url
    lose(ada, 1)
    for _, status in ipairs { "403", "4003" } do
      ada.url = url .. "?refuse=" .. status
      assert.is_nil((ada:connect()))
      stream.close_all()
      assert_full()
    end
    ada.url = url
    local greeting
    loop.ask_until(function() -- the socket that was refused has the place until it is closed
      greeting = ada:connect()
      return greeting ~= nil
    end, true)
    assert.is_true(greeting.resumed)
  end)

  it("has room for one return at a time", function()
    local ada = session.start(app:url("/s"))
    lose(ada, 1)
    local waits = assert(stream.connect(app.addresses[1]))
    waits:write((client.handshake("/s?refuse=wait&session=" .. ada.secret)))
    app:wait_event("asked")
    local greeting, status = ada:connect()
    assert.is_nil(greeting)
    assert.equal(503, status)
    waits:abort()
    loop.ask_until(function()
      greeting = ada:connect()
      return greeting ~= nil
    end, true)
    assert.is_true(greeting.resumed)
    assert_full()
  end)

  it("counts the session once that follows one whose return on_resume refuses", function()
    local ada = session.start(app:url("/s"))
    lose(ada, 1)
    ada.url = ada.url .. "?new=1"
    assert.is_false(ada:connect().resumed)
    assert_full()
    lose(ada, 2)
    ada.url = app:url("/s")
    assert.is_true(ada:connect().resumed)
    assert_full()
    ada.socket:close(1000)
    assert.is_true(loop.ask_until(function() return client.connect(app:url("/s")) ~= nil end, true))
  end)
end)
