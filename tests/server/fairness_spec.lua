-- fairness_spec.lua -- one client that sends or receives much leaves the others their turns.

local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- One worker: all are on one loop. `work` takes a millisecond of its time.
local APP = [[
  local record, tw = require "record", require "tidewire"
  local worked = 0
  return {
    defaults = { max_backlog = "64M" },
    endpoints = { ["/"] = { handle_message = function(conn, message)
      if message == "work" then
        worked = worked + 1
        local over = os.clock() + 0.001
        repeat until os.clock() >= over
      elseif message == "much" then
        for _ = 1, 4 do conn:send(("m"):rep(1 << 20)) end
      else
        conn:send(tostring(worked))
      end
    end } },
    http = { ["/worked"] = function() return tostring(worked) end },
  }
]]

describe("a client that leaves others their turns", function()
  after_each(stream.close_all)

  it("may have sent hundreds of messages in one go", function()
    local app <close> = server.start({ app = APP, workers = 1 })
    local ada, bob = app:connect("/"), app:connect("/")
    local many, batch = 1000, {}
    for index = 1, many do batch[index] = frames.encode({ payload = "work" }) end
    ada:send_raw(table.concat(batch))
    loop.ask_until(function() return app:http("/worked").body ~= "0" end, true)
    local worked = tonumber((bob:ask("how many?")))
    assert.is_true(worked < many, "bob was served only after ada's messages")
    assert.equal(tostring(many),
      loop.ask_until(function() return app:http("/worked").body end, tostring(many)))
    assert.equal(tostring(many), (ada:ask("how many?")))
  end)

  it("gets large messages whole and in order all the same", function()
    local app <close> = server.start({ app = APP, workers = 1 })
    local ada, bob = app:connect("/"), app:connect("/")
    ada:send_text("much")
    assert.equal("0", (bob:ask("how many?")))
    for _ = 1, 4 do assert.is_true(ada:receive() == ("m"):rep(1 << 20)) end
    assert.equal("0", (ada:ask("how many?")))
    assert.equal(404, http.request(app.addresses[1], "/none").status)
  end)
end)
