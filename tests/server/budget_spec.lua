-- budget_spec.lua -- scripts that exceed their budget are ended, wherever they loop and however
-- they try to go on; other clients notice nothing.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

-- Ways to take too long. A traceback is of a way when it has one of its lines. Each is called with
-- the connection.
local WAYS = [[
local ways = {}
local function loop() while true do end end
local function with(metamethod, f) return setmetatable({}, { [metamethod] = f or loop }) end
local function catch() while true do pcall(loop) end end
function ways.plain() while true do end end
function ways.goto_() ::again:: goto again end
function ways.for_() for _ = 1, math.maxinteger do end end
function ways.repeat_() repeat until false end
function ways.recursion() local function f() return f() end f() end
function ways.calls() while true do tostring(1) end end
function ways.strings() while true do local _ = ("x"):rep(1000) .. math.random() end end
function ways.library(conn) while true do conn:is_open() end end
function ways.rooms(conn) while true do conn:join("room") conn:leave("room") end end
function ways.pcall_() while true do pcall(loop) end end
function ways.pcall_of_pcall() while true do pcall(pcall, pcall, loop) end end
function ways.pcall_error() while true do pcall(error, "again") end end
function ways.xpcall_() while true do xpcall(loop, loop) end end
function ways.xpcall_handler() xpcall(error, loop) end
function ways.xpcall_handlers()
  while true do xpcall(error, function() while true do pcall(loop) end end) end
end
function ways.xpcall_sort()
  local t = { 3, 2, 1 }
  while true do xpcall(table.sort, catch, t, loop) end
end
function ways.coroutine_() coroutine.wrap(loop)() end
function ways.coroutines() while true do coroutine.resume(coroutine.create(loop)) end end
function ways.coroutine_in_pcall() while true do pcall(coroutine.wrap(loop)) end end
function ways.pcall_in_coroutine() coroutine.wrap(catch)() end
function ways.pcalls_of_coroutines()
  local function again(f) return function() while true do pcall(coroutine.wrap(f)) end end end
  again(again(again(catch)))()
end
function ways.deep()
  local function deep(n)
    if n == 0 then loop() end
    while true do pcall(coroutine.wrap(deep), n - 1) end
  end
  deep(20)
end
function ways.switches()
  local co = coroutine.wrap(function() while true do coroutine.yield() end end)
  while true do co() end
end
function ways.new_ones() while true do coroutine.wrap(function() end)() end end
function ways.sort() table.sort({ 3, 2, 1, 5 }, loop) end
function ways.sort_pcall() while true do pcall(table.sort, { 3, 2, 1, 5 }, catch) end end
function ways.sort_coroutine()
  while true do pcall(table.sort, { 3, 2, 1, 5 }, coroutine.wrap(catch)) end
end
function ways.gsub() string.gsub("a", ".", loop) end
function ways.gsub_pcall() while true do pcall(string.gsub, "a", ".", catch) end end
function ways.load_reader() load(loop) end
function ways.require_() package.preload.looping = loop require "looping" end
function ways.tostring_() tostring(with "__tostring") end
function ways.index() return with("__index").x end
function ways.newindex() with("__newindex").x = 1 end
function ways.call() with("__call")() end
function ways.eq()
  local mt = { __eq = loop }
  return setmetatable({}, mt) == setmetatable({}, mt)
end
function ways.lt() return with("__lt") < with("__lt") end
function ways.le() return with("__le") <= with("__le") end
function ways.concat() return with("__concat") .. "x" end
function ways.len() return #with("__len") end
function ways.add() return with("__add") + 1 end
function ways.close_normal() do local _ <close> = with("__close") end end
function ways.close_return() local _ <close> = with("__close") return 1 end
function ways.close_break() while true do local _ <close> = with("__close") break end end
function ways.close_error() local _ <close> = with("__close") error("an error, and then a loop") end
function ways.close_pcall()
  pcall(function() local _ <close> = with("__close") error("caught") end)
end
function ways.close_coroutine()
  local co = coroutine.create(function() local _ <close> = with("__close") coroutine.yield() end)
  coroutine.resume(co)
  coroutine.close(co)
end
function ways.close_while_ended() local _ <close> = with("__close", catch) while true do end end
function ways.close_many()
  local _ <close> = with("__close", catch)
  local _ <close> = with("__close")
  while true do end
end
function ways.close_in_sort()
  table.sort({ 3, 2, 1 }, function() local _ <close> = with("__close", catch) while true do end end)
end
function ways.close_in_coroutine()
  coroutine.wrap(function() local _ <close> = with("__close", catch) while true do end end)()
end
function ways.generic_for() for _ in loop do end end
function ways.generic_for_close() for _ in next, { 1 }, nil, with("__close") do end end
return ways
]]

local APP = [[
local tw = require "tidewire"
local record = require "record"
local ways = require "ways"

local function handle(conn, message)
  local way = ways[message]
  if not way then return conn:send(message) end
  way(conn)
  conn:send("not ended")
end

local function note(conn, err)
  record("error", err.kind, err.hook, err.message, err.traceback)
end

return {
  defaults = { handler_timeout = 0.05 },
  endpoints = {
    ["/default"] = {
      handle_message = handle, on_close = function(conn, code) record("close", code) end,
    },
    ["/keep"] = { handle_message = handle, on_error = function(conn, err)
      note(conn, err)
      return false
    end },
  },
  http = {
    ["/stats"] = function() return tw.json.encode(tw.stats()) end,
  },
}
]]

--- The ways with their first and last lines.
local function list_ways()
  local list, line = {}, 0
  for text in WAYS:gmatch("[^\n]+") do
    line = line + 1
    local name = text:match("^function ways%.([%w_]+)")
    if name then list[#list + 1] = { name = name, first = line } end
    if #list > 0 then list[#list].last = line end
  end
  return list
end

local function has_line_of(way, traceback)
  for number in traceback:gmatch("ways.lua:(%d+):") do
    if tonumber(number) >= way.first and tonumber(number) <= way.last then return true end
  end
  return false
end

local function count(text, what)
  local found = 0
  for _ in text:gmatch(what) do found = found + 1 end
  return found
end

describe("a hook that takes too long", function()
  local app, bystander

  lazy_setup(function()
    app = server.start({ app = APP, files = { ["ways.lua"] = WAYS }, workers = 1 })
  end)
  lazy_teardown(function() app:stop() end)
  before_each(function() bystander = app:connect("/default") end)
  after_each(stream.close_all)

  local function timeouts()
    return cjson.decode(app:http("/stats").body).handler_timeouts
  end

  for _, way in ipairs(list_ways()) do
    it("is ended: " .. way.name:gsub("_", " "), function()
      local before, errors, log = timeouts(), #app:events("error"), #app:log()

      local ada = app:connect("/keep")
      ada:send_text(way.name)
      local event = app:wait_event("error", errors + 1)
      assert.equal("hello", (ada:ask("hello")))
      assert.equal("handle_message", event[3])
      if way.name == "close_error" then -- on_error gets the thrown value
        assert.equal("script", event[2])
      else
        assert.equal("timeout", event[2], event[4])
        assert.matches("^ways.lua:%d+: ended after [%d.]+ seconds of CPU time; handler_timeout "
          .. "allows 0.05 seconds$",
          event[4])
        assert.is_true(has_line_of(way, event[5]), event[5])
      end

      local eve, closes = app:connect("/default"), #app:events("close")
      eve:send_text(way.name)
      assert.equal(1011, (eve:wait_closed()))
      assert.equal(1011, app:wait_event("close", closes + 1)[2])

      assert.equal("still here", (bystander:ask("still here")))
      assert.equal(before + 2, timeouts())
      local lines = app:log():sub(log + 1)
      assert.equal(2, count(lines, "handler_timeout allows"), lines)
      assert.equal(1, #app:events("error") - errors)
    end)
  end
end)
