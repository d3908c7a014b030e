-- sent_text_spec.lua -- conn:send checks that text is UTF-8, whatever message its hook got: the
-- server does not check a message again when a hook sends it back.

local server = require "support.server"
local stream = require "support.stream"

-- Each hook forgets its message, makes many strings as long that are not UTF-8, of which one may be
-- where the message was in memory, and sends the number of those that conn:send took.
local APP = [[
local here, tw = require "here", require "tidewire"
local PAD = ("x"):rep(996)
local function count_taken(conn)
  local taken, list = 0, {}
  collectgarbage()
  for i = 1, 100 do list[i] = PAD .. ("%03d\xff"):format(i) end
  for _, bad in ipairs(list) do
    if pcall(conn.send, conn, bad) then taken = taken + 1 end
  end
  return taken
end
local waiting = {}
local ways = {}
function ways.at_once(conn) conn:send("taken: " .. count_taken(conn)) end
function ways.later(conn)
  conn:after(0, function() conn:send("taken: " .. count_taken(conn)) end)
end
function ways.after_sleep(conn)
  tw.sleep(0)
  conn:send("taken: " .. count_taken(conn))
end
function ways.after_others(conn)
  tw.await(function(wake) waiting[#waiting + 1] = wake end)
  conn:send("taken: " .. count_taken(conn))
end
function ways.wake(conn)
  conn:send("taken: " .. count_taken(conn))
  for _, wake in ipairs(waiting) do wake() end
end
ways.in_coroutine = function(conn) coroutine.wrap(ways.at_once)(conn) end
return {
  validate = here.validate, ping_period = 0,
  on_error = function(conn, err) conn:send(err.kind .. ": " .. err.message) end,
  handle_message = function(conn, message)
    local way = message:match("^#(%S+)")
    if way == "fail" then return nil, "failed" end
    if not way then return conn:send(message) end
    message = nil
    return ways[way](conn)
  end,
}
]]

local app

before_each(function() app = server.start { app = APP } end)

after_each(function()
  stream.close_all()
  app:stop()
end)

--- A message that a hook handles in this way, of the length of the strings that hooks make.
local function message(way)
  return ("#%s "):format(way) .. ("y"):rep(1000 - #way - 2)
end

describe("conn:send", function()
  it("sends a message back as it is, whatever its length", function()
    local peer = app:connect()
    for _, letter in ipairs { "a", "é", "€", "𝄞" } do
      for _, count in ipairs { 1, 31, 32, 127, 128, 129, 1000, 70000 } do
        local text = letter:rep(count)
        assert.equal(text, (peer:ask(text)))
      end
    end
  end)

  it("refuses bytes that are not UTF-8 in a hook that got a message of that length", function()
    local peer = app:connect()
    for _, way in ipairs { "at_once", "in_coroutine", "after_sleep", "later" } do
      assert.equal("taken: 0", (peer:ask(message(way))))
      assert.equal("taken: 0", (peer:ask("#at_once")))
    end
  end)

  it("refuses them where hooks of other connections ran in between", function()
    local ada, bob = app:connect_on(0), app:connect_on(0)
    ada:send_text(message "after_others")
    assert.equal("taken: 0", (bob:ask(message "at_once")))
    assert.equal("taken: 0", (bob:ask(message "wake")))
    assert.equal("taken: 0", (ada:receive()))
  end)

  it("and what a hook returns do not depend on the length of the message", function()
    local peer = app:connect()
    assert.equal("returned: failed", (peer:ask("#fail")))
    assert.equal("returned: failed", (peer:ask(message "fail")))
    assert.equal("on", (peer:ask("on")))
  end)
end)
