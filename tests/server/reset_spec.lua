-- reset_spec.lua -- clients that reset the TCP connection, as programs do that exit with unread
-- bytes: what they had sent before is handled to its end.

local client = require "support.client"
local frames = require "support.frames"
local server = require "support.server"
local stream = require "support.stream"

local MESSAGES = 200

local APP = [[
  local record = require "record"
  local tw = require "tidewire"
  local flags = tw.shared("flags")
  local counts = {} -- of each connection

  local function count(conn) counts[conn] = (counts[conn] or 0) + 1 end

  local function on_close(conn, code)
    record("close", code, counts[conn])
    counts[conn] = nil
  end

  local function wait_for_flag()
    while not flags:get("go") do tw.sleep(0.005) end
  end

  return {
    http = { ["GET /go"] = function() flags:set("go", true) return "on" end },
    endpoints = {
      ["/"] = {
        handle_message = function(conn, message) count(conn) conn:send(message) end,
        on_close = on_close,
      },
      ["/sleeps"] = {
        handle_message = function(conn)
          record("begins")
          wait_for_flag()
          count(conn)
        end,
        on_close = on_close,
      },
      ["/ticks"] = {
        handle_message = function(conn)
          record("begins")
          while conn:send("tick") do tw.sleep(0.005) end
          record("ends")
        end,
        on_close = on_close,
      },
      ["/many-replies"] = {
        max_backlog = "64K",
        handle_message = function(conn)
          record("begins")
          wait_for_flag()
          count(conn)
          conn:send(("x"):rep(40000))
        end,
        on_close = on_close,
      },
    },
  }
]]

-- The bytes of so many messages, and of a Close frame.
local function farewell(count)
  local parts = {}
  for index = 1, count do parts[index] = frames.encode({ payload = "message " .. index }) end
  parts[#parts + 1] = frames.encode({ opcode = "close", payload = frames.close_payload(1000) })
  return table.concat(parts)
end

describe("a client that resets the connection after its Close frame", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function() app:stop() end)

  local function leave(path, count)
    local ada = app:connect(path)
    ada:send_raw(farewell(count))
    assert.is_true(ada.stream:flush())
    ada:abort()
  end

  local function assert_closes(number, count)
    app:wait_event("close", number)
    for _, event in ipairs(app:events("close")) do
      assert.same({ 1000, count }, { event[2], event[3] })
    end
  end

  it("has all its messages handled, and on_close gets its code", function()
    for number = 1, 20 do
      leave("/", MESSAGES)
      assert_closes(number, MESSAGES)
    end
  end)

  it("has its one message handled, a thousand times", function()
    for _ = 1, 1000 do leave("/", 1) end
    assert_closes(1000, 1)
    assert.equal(1000, #app:events("close"))
  end)

  it("has them handled also when it sent all in one piece with the handshake", function()
    for number = 1, 20 do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(client.handshake("/") .. farewell(MESSAGES))
      assert.is_true(peer:flush())
      peer:abort()
      assert_closes(number, MESSAGES)
    end
  end)

  it("has them handled when its hook sleeps, and the server had stopped reading", function()
    for _ = 1, 5 do leave("/sleeps", MESSAGES) end
    app:wait_event("begins", 5)
    app:http("/go")
    assert_closes(5, MESSAGES)
  end)

  it("has them handled when their replies are more than its queue may hold", function()
    local ada = app:connect("/many-replies")
    ada:send_raw(farewell(MESSAGES))
    app:wait_event("begins")
    ada:abort()
    app:http("/go")
    assert_closes(1, MESSAGES)
  end)
end)

describe("a client that resets the connection while a hook sends to it in a loop", function()
  it("is closed after half_closed_seconds, although more messages wait than are read", function()
    local app <close> = server.start({
      app = APP:gsub("http = {", "limits = { half_closed_seconds = 0.1 }, %0", 1),
    })
    local ada = app:connect("/ticks")
    ada:send_raw(farewell(MESSAGES))
    app:wait_event("begins")
    ada:abort()
    app:wait_event("ends")
    app:wait_event("close")
  end)
end)
