-- budget_deep_spec.lua -- scripts that exceed their budget deep in a recursion are ended like any
-- other: unwinding and closing a deep stack does not delay the worker.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- Each way is called with nothing, and never returns by itself.
local WAYS = [[
local DEPTH = 180000
local ways = {}
local function loop() while true do end end
local function deep(n, f)
  if n == 0 then f() end
  local result = deep(n - 1, f)
  return result
end
local function parse(text, at)
  if text:byte(at) ~= 91 then error("expected something", 0) end
  local value = parse(text, at + 1)
  return { value }
end
local function without_end() local result = without_end() return result end
local function deep_closes(n, closable, f)
  local _ <close> = closable()
  if n == 0 then f() end
  local result = deep_closes(n - 1, closable, f)
  return result
end
local function each_its_own(method)
  return function() return setmetatable({}, { __close = method }) end
end
local function one_for_all(method)
  local closable = setmetatable({}, { __close = method })
  return function() return closable end
end

function ways.plain() deep(DEPTH, loop) end
function ways.again_and_again() while true do pcall(deep, DEPTH, error) end end
function ways.parser() while true do pcall(parse, ("["):rep(DEPTH), 1) end end
function ways.stack_overflow() while true do pcall(without_end) end end
function ways.stack_overflow_in_gsub() ("a"):gsub(".", ways.stack_overflow) end
function ways.gsub() ("a"):gsub(".", function() deep(DEPTH, loop) end) end
function ways.gsub_below() deep(DEPTH, function() ("a"):gsub(".", loop) end) end
function ways.gsub_between()
  deep(DEPTH // 2, function() ("a"):gsub(".", function() deep(DEPTH // 2, loop) end) end)
end
function ways.sort() table.sort({ 3, 2, 1 }, function() deep(DEPTH, loop) end) end
function ways.load_reader() load(function() deep(DEPTH, loop) end) end
function ways.index() return setmetatable({}, { __index = function() deep(DEPTH, loop) end }).x end
function ways.tostring_()
  tostring(setmetatable({}, { __tostring = function() deep(DEPTH, loop) end }))
end
function ways.pcalls()
  local function nested(n) if n == 0 then deep(DEPTH, loop) end pcall(nested, n - 1) return n end
  nested(60)
end
function ways.pcalls_in_gsub() ("a"):gsub(".", function() local function nested(n)
    if n == 0 then deep(DEPTH, loop) end
    pcall(nested, n - 1)
    return n
  end
  nested(60)
end) end
function ways.pcalls_of_gsub()
  local function nested(n)
    if n == 0 then deep(DEPTH, loop) end
    while true do pcall(string.gsub, "a", ".", function() nested(n - 1) end) end
  end
  nested(30)
end
function ways.handler() while true do xpcall(error, function() deep(DEPTH, loop) end) end end
function ways.handler_in_the_depth()
  xpcall(deep, function() deep(DEPTH // 2, loop) end, DEPTH // 2, error)
end
function ways.coroutine_() coroutine.wrap(function() deep(DEPTH, loop) end)() end
function ways.coroutines()
  local function nested(n)
    if n == 0 then loop() end
    deep(DEPTH // 100, coroutine.wrap(function() nested(n - 1) end))
  end
  nested(100)
end
function ways.coroutines_of_gsub()
  local function nested(n)
    if n == 0 then loop() end
    deep(DEPTH // 30, coroutine.wrap(function() ("a"):gsub(".", function() nested(n - 1) end) end))
  end
  nested(30)
end
function ways.switches()
  local co = coroutine.wrap(function() while true do coroutine.yield() end end)
  deep(DEPTH, function() while true do co() end end)
end
function ways.closes() deep_closes(DEPTH // 2, each_its_own(function() end), loop) end
function ways.closes_in_gsub()
  ("a"):gsub(".", function() deep_closes(DEPTH // 2, each_its_own(function() end), loop) end)
end
function ways.closes_that_loop() deep_closes(DEPTH // 2, one_for_all(loop), loop) end
function ways.closes_that_loop_in_gsub()
  ("a"):gsub(".", function() deep_closes(DEPTH // 2, one_for_all(loop), loop) end)
end
function ways.closes_that_loop_in_pcall_below()
  deep(DEPTH // 2, function()
    ("a"):gsub(".", function() pcall(deep_closes, DEPTH // 4, one_for_all(loop), loop) end)
  end)
end
function ways.xpcall_around() xpcall(deep_closes, print, DEPTH // 2, one_for_all(error), loop) end
return ways
]]

-- Only the ways have little time. What follows them, as the collection of a deep stack, has enough
-- at "/echo".
local APP = [[
local uv = require "luv"
local ways = require "ways"
return {
  defaults = { handler_timeout = 0.1 },
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        local place, name = message:match("^(%a+) ([%w_]+)$")
        if place == "hook" then ways[name]() end
        local timer = uv.new_timer()
        timer:start(0, 0, function()
          timer:close()
          ways[name]()
        end)
      end,
    },
    ["/echo"] = {
      handler_timeout = 60, handle_message = function(conn, message) conn:send(message) end,
    },
  },
}
]]

describe("a deep recursion that takes too long", function()
  local app

  lazy_setup(function()
    app = server.start({ app = APP, files = { ["ways.lua"] = WAYS }, workers = 1 })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  for name in WAYS:gmatch("function ways%.([%w_]+)") do
    it("is ended: " .. name:gsub("_", " "), function()
      local LINE = 'hook=handle_message why="[^"]*handler_timeout allows 0.1 seconds"'
      local before = #app:log_lines(LINE)
      local ada = app:connect("/")
      ada:send_text("hook " .. name)
      assert.equal(1011, (ada:wait_closed()))
      assert.is_truthy(loop.wait_until(function() return #app:log_lines(LINE) == before + 1 end))
      assert.equal("hello", (app:connect("/echo"):ask("hello")))
    end)
  end

  for _, name in ipairs { "plain", "stack_overflow", "gsub", "pcalls_of_gsub", "handler",
    "coroutines_of_gsub",
    "closes", "closes_that_loop_in_gsub", "xpcall_around" } do
    it("is ended in a callback of luv's: " .. name:gsub("_", " "), function()
      local LINE = 'hook="luv callback" why="[^"]*handler_timeout allows 0.1 seconds"'
      local before = #app:log_lines(LINE)
      app:connect("/"):send_text("luv " .. name)
      assert.is_truthy(loop.wait_until(function() return #app:log_lines(LINE) == before + 1 end))
      assert.equal("hello", (app:connect("/echo"):ask("hello")))
    end)
  end
end)

describe("a deep recursion while new code is loaded", function()
  after_each(stream.close_all)

  it("lets messages be handled, and finishes", function()
    local app <close> = server.start({ app = [[
      local tw, record = require "tidewire", require "record"
      local function deep(n)
        if n == 0 then return 0 end
        local below = deep(n - 1)
        return below + 1
      end
      if tw.generation > 1 then record("deep", deep(180000)) end
      return { handle_message = function(conn, message) conn:send(message) end }
    ]] })
    local ada = app:connect()
    app:signal("sighup")
    assert.equal("hello", (ada:ask("hello")))
    assert.equal(180000, app:wait_event("deep")[2])
    assert.is_truthy(app:wait_for_log("event=reloaded"))
  end)
end)
