-- timeout_spec.lua -- silence for `pong_period`: when on_timeout is called, what its result does,
-- and what ends the silence.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local uv = require "luv"

local function watched(options)
  local answer = options.answer
  options.answer = nil
  options.on_timeout = function(conn)
    record("timeout", uv.hrtime() / 1e9) -- the clock of loop.now()
    return answer
  end
  options.handle_message = function(conn, message) conn:send("still here: " .. message) end
  options.on_close = function(conn, code, reason) record("close", code) end
  return options
end

return {
  endpoints = {
    ["/close"]   = watched({ ping_period = 0, pong_period = 0.5, answer = true }),
    ["/default"] = {
      ping_period = 0, pong_period = 0.5, on_close = function(conn, code) record("close", code) end,
    },
    ["/nothing"] = watched({ ping_period = 0, pong_period = 0.5 }),
    ["/keep"]    = watched({ ping_period = 0, pong_period = 0.5, answer = false }),
    ["/pinged"]  = watched({ ping_period = 0.2, pong_period = 5, answer = true }),
    ["/patient"] = watched({ ping_period = 0, pong_period = 5, answer = true }),
    ["/talking"] = watched({
      ping_period = 0.1, pong_period = 0.5, answer = true,
      on_start = function(conn)
        conn:every(0.1, function() conn:send("news") end)
      end,
    }),
    ["/never"]   = watched({ ping_period = 0, pong_period = 0, answer = true }),
  },
}
]]

describe("silence", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function() app:stop() end)

  -- That it does not come late is tests/unit/test_hub_timers.c's, which has a clock of its own.
  local function assert_not_early(event, began, seconds)
    assert.is_true(event[2] - began >= seconds - 0.01, "early: " .. event[2] - began)
  end

  it("of one period calls on_timeout once; true closes with 4408", function()
    local began = loop.now()
    local ada = app:connect("/close")
    assert.equal(4408, (ada:wait_closed()))
    assert.equal(4408, app:wait_event("close")[2])
    assert.equal("timeout close", app:event_names())
    assert_not_early(app:events("timeout")[1], began, 0.5)
  end)

  it("closes with 4408 where there is no on_timeout", function()
    local ada = app:connect("/default")
    assert.equal(4408, (ada:wait_closed()))
    assert.equal(4408, app:wait_event("close")[2])
  end)

  it("closes when on_timeout returns nothing", function()
    assert.equal(4408, (app:connect("/nothing"):wait_closed()))
    assert.equal(1, #app:events("timeout"))
  end)

  it("stays open by on_timeout's false, and on_timeout is called again", function()
    local began = loop.now()
    local ada = app:connect("/keep")
    assert_not_early(app:wait_event("timeout"), began, 0.5)
    assert.equal("still here: hello", (ada:ask("hello")))
    assert_not_early(app:wait_event("timeout", 2), began, 1)
    assert_not_early(app:wait_event("timeout", 3), began, 1.5)
    assert.equal("still here: again", (ada:ask("again")))
    assert.equal(0, #app:events("close"))
  end)

  it("does not begin while messages, pings, pongs, fragments or answers to PINGs come", function()
    local peers, over = {}, loop.now() + 6
    for index, frame in ipairs({
      { payload = "x" }, { opcode = "ping" }, { opcode = "pong", payload = "?" },
      { opcode = 0, fin = false },
    }) do
      peers[index] = { app:connect("/patient"), frame }
    end
    peers[4][1]:send_frame({ opcode = "text", payload = "begin", fin = false })
    local answers = app:connect("/pinged")
    repeat
      for _, peer in ipairs(peers) do
        peer[1]:send_frame(peer[2])
        peer[1]:step()
      end
      answers:step()
      loop.pass(0.15)
    until loop.now() > over
    assert.is_true(#answers.pings > 0)
    assert.equal(0, #app:events("timeout"))
  end)

  it("is not broken by what the server sends", function()
    local began = loop.now()
    local ada = app:connect("/talking")
    ada.auto_pong = false
    assert.equal(4408, (ada:wait_closed()))
    assert.equal(1, #app:events("timeout"))
    assert_not_early(app:events("timeout")[1], began, 0.5)
  end)

  it("ends a client that does not even read", function()
    local ada = app:connect("/talking", { receive_buffer = 4096 })
    ada.stream:pause()
    assert.equal(4408, app:wait_event("close")[2])
  end)

  it("never ends with pong_period = 0", function()
    local ada = app:connect("/never")
    loop.pass(0.8)
    assert.equal("still here: yes", (ada:ask("yes")))
    assert.equal(0, #app:events("timeout"))
  end)

  after_each(stream.close_all)
end)
