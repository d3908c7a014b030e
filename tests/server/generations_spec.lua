-- generations_spec.lua -- /stats has the code that connections, hooks and timers keep, and the
-- lines that made timers.

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

local OLD = '["/old"] = { handle_message = function(conn, message) if message == "x" then '
  .. 'conn:send(message) end end },'

describe("/stats", function()
  it("lists what each generation still holds", function()
    local app <close> = server.start({ app = APP:format(OLD) })
    --- As "generation connections waiting", the newest first.
    local function kept()
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
        now = kept()
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

  it("counts repeating timers by the line that made them, and lists kept code", function()
    local text = [[
local tw, here = require "tidewire", require "here"
local timers = {}
tw.every(1000, function() end)
local function handle_message(conn, message)
  if message == "every" then
    timers[#timers + 1] = tw.every(1000, function() end)
  elseif message == "own" then
    conn:every(1000, function() end)
  elseif message == "after" then
    tw.after(1000, function() end)
  elseif message == "cancel" then
    for _, timer in ipairs(timers) do timer:cancel() end
  end
  conn:send(message)
end
return {
  admin = "127.0.0.1:0",
  endpoints = { ["/"] = { validate = here.validate, handle_message = handle_message } },
}
]]
    local app <close> = server.start({ app = text })
    local function stats() return json.decode(http.request(app.admin, "/stats").body) end
    local function wait_for(expected, generations)
      local seen
      local reached = loop.wait_until(function()
        local now, places, rows = stats(), {}, {}
        for _, place in ipairs(now.timers) do
          places[#places + 1] = ("%s of %d: %d"):format(place.where, place.generation, place.count)
        end
        for _, row in ipairs(now.generations) do
          rows[#rows + 1] = ("%d %d"):format(row.generation, row.timers)
        end
        table.sort(places)
        seen = table.concat(places, ", ") .. "; " .. table.concat(rows, ", ")
        return seen == expected .. "; " .. generations
      end)
      if not reached then error(("it stays %s"):format(seen), 2) end
    end
    local n = app.workers
    wait_for(("app.lua:3 of 1: %d"):format(n), "1 " .. n)
    local ada = app:connect_on(0)
    for _, message in ipairs { "every", "every", "own", "after" } do ada:ask(message) end
    wait_for(("app.lua:3 of 1: %d, app.lua:6 of 1: 2, app.lua:8 of 1: 1"):format(n), "1 " .. n + 4)
    assert.equal(n + 3, stats().repeating_timers)
    assert.matches("\ntidewire_repeating_timers " .. n + 3 .. "\n",
      http.request(app.admin, "/metrics").body)
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded .*generation=2 "))
    -- what the top level has made ends with its code; what hooks have made holds it
    wait_for(("app.lua:3 of 2: %d, app.lua:6 of 1: 2, app.lua:8 of 1: 1"):format(n),
      ("2 %d, 1 4"):format(n))
    ada:ask("every")
    wait_for(("app.lua:3 of 2: %d, app.lua:6 of 1: 2, app.lua:6 of 2: 1, app.lua:8 of 1: 1")
      :format(n),
      ("2 %d, 1 4"):format(n + 1))
    ada:ask("cancel") -- the new code's
    ada:close(1000)
    wait_for(("app.lua:3 of 2: %d, app.lua:6 of 1: 2"):format(n), ("2 %d, 1 3"):format(n))
  end)

  it("counts what a timer of old code starts as the old code's", function()
    local app <close> = server.start({ app = [[
local tw = require "tidewire"
return { admin = "127.0.0.1:0", endpoints = { ["/"] = { handle_message = function(conn, message)
  if message == "begin" then local function f() tw.after(0.001, f) end f() end
  conn:send(message)
end } } }
]] })
    local ada = app:connect("/")
    ada:ask("begin")
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded .*generation=2 "))
    for _ = 1, 20 do
      local rows = json.decode(http.request(app.admin, "/stats").body).generations
      assert.same({ 2, 1, 1 }, { rows[1].generation, rows[2].generation, rows[2].timers })
    end
  end)
end)
