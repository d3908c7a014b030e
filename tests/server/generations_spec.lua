-- generations_spec.lua -- /stats tells which code connections and waiting hooks hold.

local http = require "support.http"
local json = require "cjson"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

local APP = [[
local tw = require "tidewire"
return { admin = "127.0.0.1:0", endpoints = {
  ["/"] = { handle_message = function(conn, message)
    if message == "wait" then while not io.open("over") do tw.sleep(0.01) end end
    conn:send(message)
  end },
  %s
} }
]]

local OLD = '["/old"] = { handle_message = function(conn, message) if message == "x" then conn:send(message) end end },'

describe("/stats", function()
  it("lists what each generation still holds", function()
    local app <close> = server.start({ app = APP:format(OLD) })
    --- As "generation connections waiting", the newest first.
    local function held()
      local rows = {}
      for index, row in ipairs(json.decode(http.request(app.admin, "/stats").body).generations) do
        rows[index] = ("%d %d %d"):format(row.generation, row.connections, row.waiting_hooks)
      end
      return table.concat(rows, ", ")
    end
    local function wait_for(expected)
      local deadline = loop.now() + loop.patience
      local now
      repeat
        now = held()
      until now == expected or loop.now() > deadline
      assert.equal(expected, now)
    end
    wait_for("")
    local ada, bob, eve = app:connect("/"), app:connect("/"), app:connect("/old")
    wait_for("1 3 0")
    ada:send_text("wait")
    wait_for("1 3 1")
    process.write_file(app.directory .. "/app.lua", APP:format(""))
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded .*generation=2 "))
    -- the hook that waits and the endpoint that is no more hold the old code
    wait_for("2 2 0, 1 1 1")
    eve:close(1000)
    ada:send_close(1000)
    wait_for("2 1 0, 1 0 1")
    assert.equal("x", (bob:ask("x")))
    process.write_file(app.directory .. "/over", "")
    wait_for("2 1 0")
  end)
end)
