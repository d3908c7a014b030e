-- socket_turns_spec.lua -- a socket that is always ready does not keep its task running: others
-- have their turns. (select does not let them run.)

local peer = require "support.peer"
local server = require "support.server"

local APP = [[
local socket = require "socket"
local tw = require "tidewire"

local function burn(seconds)
  local now = os.clock()
  repeat until os.clock() - now >= seconds
end

local asked = {
  -- How often another task runs while one sends 40 pieces, with 6 ms of work between them.
  send = function(s)
    local count, is_over = 0, false
    tw.spawn(function()
      while not is_over do
        count = count + 1
        tw.sleep(0)
      end
    end)
    for _ = 1, 40 do
      s:send("say x\n")
      burn(0.006)
    end
    is_over = true
    return count >= 10
  end,
  -- A limit of 0 lets no call wait, and bytes that are there are received in a long turn too.
  receive_at_once = function(s)
    local got = ""
    s:send("say abcdef\n")
    for _ = 1, 6 do
      got = got .. s:receive(1)
      s:send("say g\n")
    end
    repeat burn(0.01) until #socket.select({ s }, nil, 0) == 1
    s:settimeout(0)
    repeat
      local byte = s:receive(1)
      got = got .. (byte or "")
    until not byte
    return got:find("^abcdefg+$") ~= nil
  end,
  send_at_once = function(s)
    s:settimeout(0)
    for _ = 1, 20 do
      burn(0.006)
      if s:send("say x\n") ~= 6 then return "a send that would not have to wait has failed" end
    end
    return true
  end,
}

return {
  handle_message = function(conn, name)
    local s = assert(socket.connect(HOST, PORT))
    conn:send(tostring(asked[name](s)))
    s:close()
  end,
}
]]

describe("a socket that is always ready", function()
  local app, other, ada

  setup(function()
    other = peer.start()
    app = server.start({
      app = ("local HOST, PORT = %q, %d\n"):format(other.host, other.port) .. APP,
    })
    ada = app:connect("/")
  end)

  teardown(function()
    app:stop()
    other:stop()
  end)

  it("lets other tasks run while it sends", function()
    assert.equal("true", (ada:ask("send")))
  end)

  it("is received from in a long turn, where a call may not wait", function()
    assert.equal("true", (ada:ask("receive_at_once")))
  end)

  it("is sent to in a long turn, where a call may not wait", function()
    assert.equal("true", (ada:ask("send_at_once")))
  end)
end)
