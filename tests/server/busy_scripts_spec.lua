-- busy_scripts_spec.lua -- scripts that never rest: clients are served, nothing grows, and the end
-- is clean.

local loop = require "support.loop"
local server = require "support.server"

local HEAD = [[
local tw, uv, here, record = require "tidewire", require "luv", require "here", require "record"
local count = 0
--- Says how often the work was done: once after `first` times, when memory has its usual size, and
--- once much later.
local function note()
  count = count + 1
  if count == 2000 or count == 100000 then record("done", count, uv.resident_set_memory()) end
end
local function busy(ms)
  local till = uv.hrtime() + ms * 1e6
  repeat until uv.hrtime() >= till
end
local conns = {}
]]

local TAIL = "\n" .. [[
return {
  validate = here.validate,
  on_start = function(conn) conns[#conns + 1] = conn end,
  handle_message = function(conn, message)
    if message == "begin" then
      begin(conn)
      conn:send("begun")
    else
      conn:send(message)
    end
  end,
  on_close = function() record("closed") end,
}
]]

--- Code that starts on a client's message.
local WORK = {
  ["a timer that starts itself anew"] = [[
function begin() local function f() note() tw.after(0, f) end f() end]],
  ["many of these"] = [[
function begin() for _ = 1, 50 do local function f() note() tw.after(0, f) end f() end end]],
  ["a connection's timer that starts itself anew"] = [[
function begin(conn) local function f() note() conn:after(0, f) end f() end]],
  ["a timer that cancels and starts others"] = [[
local other
function begin()
  local function f()
    note()
    if other then other:cancel() end
    other = tw.after(1000, f)
    tw.after(0, f)
  end
  f()
end]],
  ["a spawned function that spawns itself"] = [[
function begin() local function f() note() tw.spawn(f) end f() end]],
  ["sleeping for no time"] = [[
function begin()
  for _ = 1, 20 do tw.spawn(function() while true do note() tw.sleep(0) end end) end
end]],
  ["hooks that wake each other"] = [[
function begin()
  local other
  local function play()
    while true do
      note()
      tw.await(function(done) local waiting = other other = done if waiting then waiting() end end)
    end
  end
  tw.spawn(play) tw.spawn(play) tw.spawn(play)
end]],
  ["an idle handle, a check and a prepare of luv's"] = [[
function begin()
  uv.new_idle():start(note)
  uv.new_check():start(function() end)
  uv.new_prepare():start(function() end)
end]],
  ["an async handle of luv's that sends to itself"] = [[
function begin()
  local async
  async = uv.new_async(function() note() async:send() end)
  async:send()
end]],
  ["finalizers that make garbage"] = [[
function begin()
  local function f() note() setmetatable({}, { __gc = f }) collectgarbage("step") end
  f() tw.every(0.001, function() setmetatable({}, { __gc = f }) collectgarbage() end)
end]],
}

--- What never rests either, or takes longer than there is time for it.
local TOO_MUCH = {
  ["a timer of luv's that starts itself anew"] = [[
function begin()
  local timer = uv.new_timer()
  local function f() record("tick") uv.update_time() timer:start(0, 0, f) end
  uv.timer_start(timer, 0, 0, f)
end]],
  ["handles of luv's that are closed and made anew"] = [[
function begin()
  local function f()
    record("tick")
    local timer = uv.new_timer()
    timer:start(0, 0, function() timer:close(f) end)
  end
  f()
end]],
  ["timers that need more than their period"] = [[
function begin() for _ = 1, 20 do tw.every(0.05, function() busy(5) record("tick") end) end end]],
  ["timers of luv's that need more than their period"] = [[
function begin()
  for _ = 1, 20 do
    uv.new_timer():start(50, 50, function() busy(5) uv.update_time() record("tick") end)
  end
end]],
  ["timers of luv's that are changed while they wait"] = [[
function begin()
  for i = 1, 20 do
    local timer = uv.new_timer()
    timer:start(5, 5, function()
      busy(3)
      if i == 1 then timer:stop() timer:set_repeat(7) timer:again() end
      record("tick")
    end)
  end
end]],
  ["sleepers that need more than they sleep"] = [[
function begin()
  for _ = 1, 50 do
    tw.spawn(function() while true do tw.sleep(0.01) busy(5) record("tick") end end)
  end
end]],
}

local function serves(app, work)
  local ada, eve = app:connect_on(0), app:connect_on(0)
  assert.equal("begun", (ada:ask("begin")))
  for i = 1, 20 do
    assert.equal("echo " .. i, (eve:ask("echo " .. i)), work)
    assert.equal("echo " .. i, (ada:ask("echo " .. i)), work)
  end
  return ada, eve
end

describe("a script that never rests", function()
  for name, work in pairs(WORK) do
    it("serves clients, does not grow and ends on SIGTERM: " .. name, function()
      local app <close> = server.start({ app = HEAD .. "local begin\n" .. work .. TAIL })
      serves(app, name)
      local first = app:wait_event("done", 1, 60)
      serves(app, name)
      if app.process:is_sanitized() then return end -- which keeps what is freed
      local last = app:wait_event("done", 2, 120)
      assert.is_true(last[3] - first[3] < 10e6,
        ("%s: memory went from %d to %d bytes"):format(name, first[3], last[3]))
    end)
  end

  for name, work in pairs(TOO_MUCH) do
    it("serves clients and ends on SIGTERM: " .. name, function()
      local app <close> = server.start({ app = HEAD .. "local begin\n" .. work .. TAIL })
      serves(app, name)
      app:wait_event("tick", 60)
      serves(app, name)
    end)
  end

  it("serves clients between finalizers that take long", function()
    local app <close> = server.start({ app = HEAD .. [[
local function begin()
  for _ = 1, 200 do
    setmetatable({}, { __gc = function() busy(10) count = count + 1 end })
  end
  collectgarbage()
end
]] .. TAIL:gsub("conn:send%(message%)", "conn:send(count)") })
    local ada, answers = app:connect_on(0), {}
    ada:ask("begin")
    repeat
      local answer = ada:ask("how many?")
      answers[#answers + 1] = answer
    until answer == "200"
    assert.is_true(#answers > 2, "all finalizers ran in one turn of the loop")
  end)

  it("serves clients during a reload, and calls on_reload for each connection", function()
    local text = HEAD .. [[
local function begin() end
]] .. TAIL:gsub("validate = here.validate,",
  "%0 on_reload = function(conn) busy(5) record('reloaded') end,")
    local app <close> = server.start({ app = text })
    local clients = {}
    for i = 1, 60 do clients[i] = app:connect_on(0) end
    clients[1]:ask("there")
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded"))
    for i = 1, 10 do assert.equal("echo", (clients[i]:ask("echo"))) end
    app:wait_event("reloaded", 60)
    loop.pass(0)
    assert.equal(60, #app:events("reloaded"))
  end)

  it("starts, and serves, with a top level that never rests", function()
    local app <close> = server.start({ app = HEAD .. [[
local function f() note() tw.after(0, f) end f()
local function g() tw.spawn(g) end g()
local function h() tw.every(0.01, function() busy(3) end) end
for _ = 1, 10 do h() end
tw.sleep(0.05)
local function begin() end
]] .. TAIL })
    serves(app)
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded"))
    serves(app)
  end)

  it("does not let workers that answer each other stand still", function()
    local app <close> = server.start({ workers = 2, app = HEAD .. [[
local room = tw.room("ping")
local function begin(conn)
  room:watch(function(event)
    note()
    if conn:is_open() then conn:leave("ping") conn:join("ping") end
  end)
  conn:join("ping")
end
]] .. TAIL })
    local ada, eve = app:connect_on(0), app:connect_on(1)
    for _ = 1, 3 do ada:ask("begin") eve:ask("begin") end
    for i = 1, 20 do
      assert.equal("echo " .. i, (eve:ask("echo " .. i)))
      assert.equal("echo " .. i, (ada:ask("echo " .. i)))
    end
  end)
end)
