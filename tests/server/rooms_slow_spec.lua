-- rooms_slow_spec.lua -- a room of a thousand members of which two hundred do not read: the others
-- miss nothing, and the slow ones' queues are bounded.
--
-- The members connect over a Unix socket: there the kernel buffers some 200 KiB for one that does
-- not read; over the loopback of TCP it would buffer megabytes before anything waits in the
-- program.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local KIB <const> = 1024
local MEMBERS <const>, SLOW <const> = 1000, 200
local BACKLOG_KIB <const> = 64

local APP = [[
local record = require "record"
local tw = require "tidewire"

local lobby = tw.room("lobby")

local function endpoint(options)
  options.ping_period = 0
  options.on_start = function(conn) conn:join("lobby") end
  options.on_close = function(conn, code) record("close", conn.query.name, code) end
  -- "7 1000": broadcasts 1000 bytes, which begin with the number 7. "dropped": how many messages
  -- were, until now.
  options.handle_message = function(_, message)
    if message == "dropped" then return record("dropped", tw.stats().messages_dropped) end
    local number, bytes = message:match("^(%d+) (%d+)$")
    record("delivered", lobby:broadcast(("%06d"):format(number) .. ("x"):rep(bytes - 6)))
  end
  return options
end

return {
  endpoints = {
    ["/close"] = endpoint({ max_backlog = "]] .. BACKLOG_KIB .. [[K" }),
    ["/drop"] = endpoint({ max_backlog = "]] .. BACKLOG_KIB .. [[K", slow_client = "drop" }),
  },
}
]]

describe("a room of a thousand", function()
  local app, folder

  before_each(function()
    folder = process.make_directory()
    app = server.start({ app = APP, listen = { ("unix:%s/app.sock"):format(folder) } })
  end)
  after_each(function()
    stream.close_all()
    app:stop()
    process.remove_directory(folder)
  end)

  --- Members of the lobby; with `reading` false they have stopped to read.
  local function enter(path, name, count, reading)
    local peers = {}
    for index = 1, count do
      peers[index] = app:connect(("%s?name=%s%d"):format(path, name, index))
      if not reading then peers[index].stream:pause() end
    end
    return peers
  end

  --- The first quick member sends messages with the numbers from `first` to `last` in one hook;
  --- all quick members get these next, in order. Returns the last one's number of receivers.
  local function say(quick, first, last, bytes)
    for number = first, last do quick[1]:send_text(("%d %d"):format(number, bytes)) end
    for index, peer in ipairs(quick) do
      for number = first, last do
        local message, problem, code = peer:receive()
        if not message then
          error(("%d receives no message: %s %s"):format(index, problem, code or ""), 2)
        end
        assert.equal(number, tonumber(message:sub(1, 6)))
        assert.equal(bytes, #message)
      end
    end
    return app:wait_event("delivered", last)[2]
  end

  local function grown_kib(before)
    return app.process:is_sanitized() and 0 or app.process:rss_kib() - before
  end

  it("closes members that do not read with 1008; the others get everything in order", function()
    local quick = enter("/close", "quick", MEMBERS - SLOW, true)
    enter("/close", "slow", SLOW, false)
    local before, number, most = app.process:rss_kib(), 0, 0
    repeat
      say(quick, number + 1, number + 2, 8 * KIB)
      number = number + 2
      most = math.max(most, grown_kib(before))
    until #app:events("close") >= SLOW or number >= 200
    -- and it goes on without them
    assert.equal(MEMBERS - SLOW, say(quick, number + 1, number + 1, 8 * KIB))
    assert.equal(SLOW, #app:events("close"))
    for _, event in ipairs(app:events("close")) do
      assert.matches("^slow", event[2])
      assert.equal(1008, event[3])
    end
    assert.is_true(number > BACKLOG_KIB // 8, "closed before anything had to wait")
    assert.is_true(most < SLOW * BACKLOG_KIB, ("memory grew by %d KiB"):format(most))
  end)

  it("that keeps them has two hundred full queues of the same bytes", function()
    local quick = enter("/drop", "quick", MEMBERS - SLOW, true)
    enter("/drop", "slow", SLOW, false)
    local asked, last = 0, 0
    --- How many messages were dropped since the last time.
    local function dropped()
      quick[1]:send_text("dropped")
      asked = asked + 1
      local now, before = app:wait_event("dropped", asked)[2], last
      last = now
      return now - before
    end
    local before, number = app.process:rss_kib(), 0
    repeat
      number = number + 2
      say(quick, number - 1, number, 8 * KIB)
    until dropped() == 2 * SLOW or number >= 200
    say(quick, number + 1, number + 10, 8 * KIB)
    assert.equal(10 * SLOW, dropped())
    assert.equal(0, #app:events("close"))
    local grown = grown_kib(before)
    assert.is_true(grown < SLOW * BACKLOG_KIB / 4, ("memory grew by %d KiB"):format(grown))
  end)

  it("whose members do not read keeps a large message once", function()
    local speaker = enter("/drop", "speaker", 1, true)
    enter("/drop", "slow", MEMBERS - 1, false)
    local before = app.process:rss_kib()
    assert.equal(MEMBERS, say(speaker, 1, 1, KIB * KIB)) -- five times what the kernel holds
    local grown = grown_kib(before)
    assert.is_true(grown < 8 * KIB, ("memory grew by %d KiB"):format(grown))
  end)
end)
