-- mass_disconnect_spec.lua -- many clients that leave in one moment: the server sees all their ends
-- at once, works them off in several turns, and forgets none.

local loop = require "support.loop"
local server = require "support.server"

local CLIENTS = 400

local APP = [[
  local tw = require "tidewire"
  local tally = tw.shared("tally")

  local function count(name) tally:incr(name) end

  tw.room("all"):watch(function(event) if event == "leave" then count("left") end end)

  local function tell(name) return tostring(tally:get(name) or 0) end

  return {
    http = {
      ["GET /tally"] = function()
        return table.concat({
          tell("closed"), tell("left"), #tw.room("all"):members(), tw.stats().connections,
        }, " ")
      end,
    },
    endpoints = {
      ["/"] = { handle_message = function(conn, message) conn:send(message) end },
      ["/member"] = {
        on_start = function(conn) conn:join("all") conn:send("in") end,
        on_close = function() count("closed") end,
      },
    },
  }
]]

describe("many clients that leave in one moment", function()
  for way, leave in pairs({
    ["by a reset"] = function(ada) ada:abort() end,
    ["by the end of TCP"] = function(ada) ada:drop() end,
    ["after a Close frame"] = function(ada)
      ada:send_close(1000)
      ada:drop()
    end,
  }) do
    it(way .. " are all forgotten, and others are served", function()
      local app <close> = server.start({ app = APP })
      local stays, clients = app:connect("/"), {}
      for index = 1, CLIENTS do
        clients[index] = app:connect("/member")
        assert.equal("in", (clients[index]:receive()))
      end
      app:signal("sigstop")
      for _, ada in ipairs(clients) do leave(ada) end
      stays:send_text("still here")
      app:signal("sigcont")
      assert.equal("still here", (stays:receive()))
      local want = ("%d %d 0 1"):format(CLIENTS, CLIENTS * app.workers)
      local function ask() return app:http("/tally").body end
      assert.equal(want, loop.ask_until(ask, want))
    end)
  end
end)
