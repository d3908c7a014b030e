-- reload_memory_spec.lua -- old code is freed: memory is flat over two hundred reloads of a large
-- app.
--
-- Each generation has some 3 MB of tables and 200 closures, and an object that counts its
-- collection. This count, Lua's own count of bytes and the process's memory show a generation that
-- anything still references.

local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local WARM_UP = 20

local APP = [[
local here, tw = require "here", require "tidewire"
local VERSION = %d
local ballast, closures = {}, {}
for i = 1, 20000 do ballast[i] = { i, "entry " .. i } end
for i = 1, 200 do closures[i] = function() return ballast[i][1] + VERSION end end
tw.shared("generations"):incr("alive")
MARK = setmetatable({}, { __gc = function() tw.shared("generations"):incr("alive", -1) end })

tw.every(0.01, function() return MARK and ballast[1] end)
tw.spawn(function() while MARK do tw.sleep(0.01) end end)
tw.spawn(function() tw.await(function(done) MARK.done = done end) end)
tw.room("hall"):watch(function() return MARK end)

local function start(conn)
  if conn.timer then conn.timer:cancel() end
  conn.timer = conn:every(0.01, function() return closures[1]() end)
end

return {
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = {
    ["/"] = {
      codec = {
        encode = function(value) return VERSION .. " " .. value end,
        decode = function(text) return text end,
      },
      on_start = function(conn) conn:join("hall", "me") start(conn) end,
      on_reload = function(conn)
        start(conn)
        conn:leave("hall")
        conn:join("hall", VERSION)
        tw.keep("seen", {})[conn.id] = VERSION
      end,
      handle_message = function(conn, message)
        if message == "all" then return tw.room("hall"):broadcast("all") and nil end
        conn:send(message .. closures[2]() - 2 - VERSION)
      end,
    },
    ["/plain"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/only/in/%d"] = { codec = { encode = function() return MARK and "" end, decode = tostring } },
  },
  http = {
    ["/memory"] = here.route(function()
      collectgarbage() collectgarbage()
      return ("%%.0f %%d"):format(collectgarbage("count"), tw.shared("generations"):get("alive"))
    end),
  },
  on_reload = function() tw.every(0.01, function() return MARK end) end,
  %s
}
]]

describe("memory", function()
  after_each(stream.close_all)

  --- KiB of Lua's in all workers, generations that are alive, and the resident set in KiB.
  local function look(app)
    local kib, alive = 0, nil
    for worker = 0, app.workers - 1 do
      local count, generations = app:http_on(worker, "/memory").body:match("^(%d+) (%d+)$")
      kib, alive = kib + tonumber(count), tonumber(generations)
    end
    return kib, alive, app.process:rss_kib()
  end

  --- Reloads again and again, every `broken`th time with code that fails; memory after the warm-up
  --- is what it is at the end.
  local function check(app, peers, broken)
    local kib, rss
    local count = (app.process:is_sanitized() or app.workers > 1) and 60 or 200
    for number = 2, count + 1 do
      if number % broken == 0 then
        local how = number // broken % 2 == 0 and "on_load = function() error('no') end,"
          or "nonsense = 1,"
        reloads.bad(app, APP:format(number, number, how))
      else
        reloads.good(app, APP:format(number, number, ""))
        for _, peer in ipairs(peers) do
          assert.equal(number .. " x0", (peer:ask("x")))
        end
      end
      if number == WARM_UP then
        local _
        kib, _, rss = look(app)
      end
    end
    -- what was collected is counted by the loop, a moment later
    local deadline = loop.now() + loop.patience
    local kib_after, alive, rss_after
    repeat
      kib_after, alive, rss_after = look(app)
    until alive <= 2 * app.workers or loop.now() > deadline
    -- The code that runs, and the one before it, whose endpoint that is no more goes with the next
    -- reload.
    assert(alive <= 2 * app.workers, ("%d generations are alive"):format(alive))
    assert(kib_after - kib < 512 * app.workers,
      ("Lua has %d KiB, and had %d"):format(kib_after, kib))
    if not app.process:is_sanitized() then
      assert(rss_after - rss < 16 * 1024 * app.workers,
        ("%d KiB, and had %d"):format(rss_after, rss))
    end
  end

  it("stays flat with rooms, timers, tw.keep, own codecs and on_reload", function()
    local app <close> = server.start({ app = APP:format(1, 1, "") })
    local peers = {}
    for index = 1, 10 do peers[index] = app:connect_on(index % app.workers) end
    local plain = app:connect_on(0, "/plain")
    check(app, peers, math.maxinteger)
    assert.equal("x", (plain:ask("x")))
    peers[1]:send_text("all")
    for _, peer in ipairs(peers) do assert(peer:receive():find("^%d+ all$")) end
  end)

  it("is flat where every second reload fails", function()
    local app <close> = server.start({ app = APP:format(1, 1, "") })
    local peers = {}
    for index = 1, 10 do peers[index] = app:connect_on(index % app.workers) end
    check(app, peers, 2)
  end)
end)
