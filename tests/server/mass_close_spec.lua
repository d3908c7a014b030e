-- mass_close_spec.lua -- a script sends to very many clients and closes them in one moment: the
-- server writes their queues in several turns, and leaves out no client and no message.

local loop = require "support.loop"
local server = require "support.server"

local CLIENTS = 800

local APP = [[
  local tw = require "tidewire"
  local tally = tw.shared("tally")
  local all = tw.room("all")
  local news = ("n"):rep(32768)

  local function tell(name) return tostring(tally:get(name) or 0) end

  return {
    http = {
      ["GET /tally"] = function()
        return table.concat({
          tell("closed"), tell("other code"), #all:members(), tw.stats().connections,
        }, " ")
      end,
    },
    endpoints = {
      ["/"] = {
        handle_message = function(conn, message)
          if message ~= "echo" then
            for number = 1, 3 do all:broadcast(number .. news) end
            for _, member in ipairs(all:members()) do
              tw.send(member.id, "last")
              tw.close(member.id, 4001, "enough")
            end
          end
          conn:send(message)
        end,
      },
      ["/member"] = {
        on_start = function(conn) conn:join("all") conn:send("in") end,
        on_close = function(_, code)
          tally:incr("closed")
          if code ~= 4001 then tally:incr("other code") end
        end,
      },
    },
  }
]]

describe("very many clients that a script sends to and closes in one moment", function()
  it("all get what was sent before, and their code, while another is served", function()
    local app <close> = server.start({ app = APP })
    local stays, clients = app:connect("/"), {}
    for index = 1, CLIENTS do
      clients[index] = app:connect("/member")
      assert.equal("in", (clients[index]:receive()))
    end
    assert.equal("now", stays:ask("now"))
    assert.equal("echo", stays:ask("echo"))
    for _, ada in ipairs(clients) do
      local texts = ada:receive_many(4)
      for number = 1, 3 do assert.equal(number .. "n", texts[number]:sub(1, 2)) end
      assert.equal("last", texts[4])
      local code, reason = ada:wait_closed()
      assert.same({ 4001, "enough" }, { code, reason })
    end
    assert.equal("echo", stays:ask("echo"))
    local want = ("%d 0 0 1"):format(CLIENTS)
    assert.equal(want, loop.ask_until(function() return app:http("/tally").body end, want))
  end)
end)
