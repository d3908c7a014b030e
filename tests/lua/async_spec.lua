-- async_spec.lua -- waiting in scripts: tw.sleep, tw.await, tw.spawn, timers, and coroutines of the
-- script's own that wait.

local fake_core = require "support.fake_core"

local lua = { resume = coroutine.resume, wrap = coroutine.wrap } -- Lua's own
local HERE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")

local world, async

before_each(function()
  world = fake_core:install()
  async = require "tidewire.async"
end)

after_each(function() world:uninstall() end)

--- Runs f on a hook's coroutine until it has returned, for at most so many seconds. Returns what it
--- returns.
local function finish(f, seconds)
  local task = world:run(f)
  world:advance(seconds or 100)
  assert(task.state == "returned", task.state .. ": " .. tostring((world.failures[1] or {}).value))
  return table.unpack(task.results, 1, task.results.n)
end

--- The message of f's error, which must name the line of this file in which f stands.
local function misuse(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line, text = message:match("^" .. HERE .. ":(%d+): (.*)$")
  assert(line, "the error is not told at its caller: " .. message)
  assert.equal(debug.getinfo(f, "S").linedefined, tonumber(line))
  return text
end

--- f must do the same with Lua's own functions and with those that scripts have.
local function assert_same_as_lua(f)
  local expected, got = table.pack(pcall(f, lua.resume, lua.wrap)), nil
  world:run(function() got = table.pack(pcall(f, coroutine.resume, coroutine.wrap)) end)
  assert.same(expected, got)
end

describe("tw.sleep", function()
  it("waits as long as it says", function()
    local woke_at
    world:run(function()
      async.sleep(1.5)
      woke_at = world:now()
    end)
    world:advance(1.4)
    assert.is_nil(woke_at)
    world:advance(1)
    assert.equal(1.5, woke_at)
  end)

  it("of no seconds lets the others have a turn", function()
    local order = {}
    local function two_steps(name)
      table.insert(order, name .. 1)
      async.sleep(0)
      table.insert(order, name .. 2)
    end
    world:run(two_steps, "a")
    world:run(two_steps, "b")
    world:advance(0)
    assert.same({ "a1", "b1", "a2", "b2" }, order)
  end)

  it("does not delay others that sleep shorter", function()
    local order = {}
    for _, seconds in ipairs { 3, 1, 2 } do
      world:run(function()
        async.sleep(seconds)
        table.insert(order, seconds)
      end)
    end
    world:advance(3)
    assert.same({ 1, 2, 3 }, order)
  end)

  it("works inside pcall, which still catches what comes after", function()
    local ok, message, woke_at = finish(function()
      local ok, message = pcall(function()
        async.sleep(1)
        error("after the sleep", 0)
      end)
      return ok, message, world:now()
    end)
    assert.is_false(ok)
    assert.equal("after the sleep", message)
    assert.equal(1, woke_at)
  end)

  it("works in metamethods", function()
    local slow = setmetatable({}, {
      __index = function(_, key)
        async.sleep(1)
        return key .. " at " .. world:now()
      end,
    })
    assert.equal("name at 1.0", finish(function() return slow.name end))
  end)

  it("throws at its caller's line for an invalid time", function()
    for bad, shown in pairs {
      [-1] = "-1", [1 / 0] = "inf", ["1"] = 'string "1"', [{}] = "table",
    } do
      local text = misuse(function() async.sleep(bad) end)
      assert.equal("tw.sleep: seconds must be a number from 0 to 1e9, got " .. shown, text)
    end
    assert.matches("got %-?nan$", misuse(function() async.sleep(0 / 0) end))
    assert.matches("got nil$", misuse(function() async.sleep() end))
  end)

  it("says why where nothing can wait", function()
    assert.equal("tw.sleep: nothing here can wait (a callback of luv's); use tw.spawn",
      misuse(function() async.sleep(1) end))
  end)

  it("that could not wait does not wake the hook later", function()
    local slept, reason
    finish(function()
      slept, reason = pcall(table.sort, { 2, 1 }, function() async.sleep(1) end)
      local before = world:now()
      async.sleep(10)
      slept = slept or world:now() - before
    end)
    assert.matches("attempt to yield across a C%-call boundary", reason)
    assert.equal(10, slept)
  end)
end)

describe("a coroutine of the script's own", function()
  it("can sleep, and its resumer sees only values that it yields", function()
    local seen = finish(function()
      local co = coroutine.create(function(first)
        async.sleep(1)
        local second = coroutine.yield(first + 1)
        async.sleep(1)
        async.sleep(1)
        return second + 1, "end"
      end)
      return {
        table.pack(coroutine.resume(co, 10)), world:now(), table.pack(coroutine.resume(co, 20)),
        world:now(),
      }
    end)
    assert.same({ { n = 2, true, 11 }, 1.0, { n = 3, true, 21, "end" }, 3.0 }, seen)
  end)

  it("can sleep in an iterator made by coroutine.wrap", function()
    local sum = finish(function()
      local total = 0
      for value in coroutine.wrap(function()
        for i = 1, 3 do
          async.sleep(1)
          coroutine.yield(i)
        end
      end) do
        total = total + value
      end
      return total
    end)
    assert.equal(6, sum)
  end)

  it("can sleep inside of another one, however deep", function()
    local function nest(depth)
      if depth == 0 then
        async.sleep(1)
        return "the bottom"
      end
      return coroutine.wrap(nest)(depth - 1)
    end
    assert.equal("the bottom", finish(function() return nest(20) end))
  end)

  it("can sleep in pcall inside of it", function()
    assert.same({ true, false, "late" }, { finish(function()
      return coroutine.resume(coroutine.create(function()
        return pcall(function()
          async.sleep(1)
          error("late", 0)
        end)
      end))
    end) })
  end)

  it("holds up only the hook that resumed it", function()
    local order = {}
    for _, name in ipairs { "a", "b" } do
      world:run(function()
        local step = coroutine.wrap(function()
          for i = 1, 2 do
            async.sleep(i)
            coroutine.yield(name .. i)
          end
        end)
        table.insert(order, step())
        table.insert(order, step())
      end)
    end
    world:advance(3)
    assert.same({ "a1", "b1", "a2", "b2" }, order)
  end)

  it("may be resumed by one hook first and by another one later", function()
    local values = {}
    local step = coroutine.wrap(function()
      for i = 1, 2 do
        async.sleep(1)
        coroutine.yield(i)
      end
    end)
    for _ = 1, 2 do
      world:run(function() table.insert(values, step()) end)
      world:advance(1)
    end
    assert.same({ 1, 2 }, values)
  end)

  it("cannot be resumed by another hook while it waits", function()
    local co = coroutine.create(function()
      local before = world:now()
      async.sleep(10)
      return world:now() - before
    end)
    local first = world:run(function() return select(2, coroutine.resume(co)) end)
    world:advance(1)
    local second = world:run(function() return coroutine.resume(co) end)
    world:advance(20)
    assert.is_false(second.results[1])
    assert.matches("cannot resume non%-suspended coroutine", second.results[2])
    assert.equal(10, first.results[1])
  end)

  it("that is closed while it waits is dead for the hook that waits in it", function()
    local co = coroutine.create(function() async.sleep(10) end)
    local task = world:run(function() return coroutine.resume(co) end)
    coroutine.close(co)
    world:advance(10)
    assert.same({ n = 2, false, "cannot resume dead coroutine" }, task.results)
  end)

  it("that ends with an error after it slept gives it to the resumer", function()
    assert.same({ false, "late" }, { finish(function()
      return coroutine.resume(coroutine.create(function()
        async.sleep(1)
        error("late", 0)
      end))
    end) })
  end)
end)

describe("coroutine.resume keeps Lua's rules:", function()
  it("values in and out, nils too", function()
    assert_same_as_lua(function(resume)
      local co =
        coroutine.create(function(...) return select("#", ...), coroutine.yield(nil, ...) end)
      return table.pack(resume(co, nil, 1, nil)), table.pack(resume(co, "x", nil)),
        coroutine.status(co)
    end)
  end)

  it("errors are returned, of any type", function()
    for _, value in ipairs { "text", 7, true, { "a table" } } do
      assert_same_as_lua(function(resume)
        return resume(coroutine.create(function() error(value) end))
      end)
    end
    assert_same_as_lua(function(resume)
      return table.pack(resume(coroutine.create(function() error() end)))
    end)
  end)

  it("a dead coroutine cannot go on", function()
    assert_same_as_lua(function(resume)
      local co = coroutine.create(function() end)
      resume(co)
      return resume(co)
    end)
  end)

  it("a running coroutine cannot be resumed", function()
    assert_same_as_lua(function(resume) return resume((coroutine.running())) end)
  end)

  it("a failed coroutine keeps its stack for a traceback", function()
    assert_same_as_lua(function(resume)
      local co = coroutine.create(function() error("x") end)
      resume(co)
      return debug.traceback(co)
    end)
  end)

  it("throws at the caller's line for a value that is no coroutine", function()
    local text = misuse(function() coroutine.resume(1) end)
    assert.matches("bad argument #1 to 'resume'", text)
  end)
end)

describe("coroutine.wrap keeps Lua's rules:", function()
  it("values in and out, nils too", function()
    assert_same_as_lua(function(_, wrap)
      local step = wrap(function(...) return select("#", ...), coroutine.yield(nil, ...) end)
      return table.pack(step(nil, 1, nil)), table.pack(step("x", nil))
    end)
  end)

  it("an error goes on to the caller, with its place before it", function()
    assert_same_as_lua(function(_, wrap)
      local step = wrap(function() error("no more") end)
      local value = step()
      return value
    end)
  end)

  it("an error of a coroutine inside a coroutine has the places of both callers", function()
    assert_same_as_lua(function(_, wrap)
      local outer = wrap(function()
        local inner = wrap(function() error("no more") end)
        local value = inner()
        return value
      end)
      local value = outer()
      return value
    end)
  end)

  it("an error has no place before it when pcall is the caller", function()
    assert_same_as_lua(function(_, wrap)
      local results = table.pack(pcall(wrap(function() error("no more") end)))
      return results
    end)
  end)

  it("an error in a for loop's iterator has the loop's place before it", function()
    assert_same_as_lua(function(_, wrap)
      for value in wrap(function() error("no more") end) do
        assert(value)
      end
    end)
  end)

  it("an error that is no text stays as it is", function()
    for _, value in ipairs { true, { "a table" } } do
      assert_same_as_lua(function(_, wrap)
        local result = wrap(function() error(value) end)()
        return result
      end)
    end
    assert_same_as_lua(function(_, wrap)
      local result = wrap(function() error() end)()
      return result
    end)
  end)

  it("an error closes the variables that are to be closed", function()
    local closed = 0
    assert_same_as_lua(function(_, wrap)
      local step = wrap(function()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        error({})
      end)
      step()
    end)
    assert.equal(2, closed)
  end)

  it("an error while closing takes the first one's place", function()
    assert_same_as_lua(function(_, wrap)
      local step = wrap(function()
        local _ <close> = setmetatable({}, { __close = function() error({ "second" }) end })
        error({ "first" })
      end)
      step()
    end)
  end)

  it("cannot resume one that has ended", function()
    assert_same_as_lua(function(_, wrap)
      local step = wrap(function() end)
      step()
      local value = step()
      return value
    end)
  end)

  it("cannot resume one that runs", function()
    assert_same_as_lua(function(_, wrap)
      local step
      step = wrap(function()
        local ok, message = pcall(function()
          local value = step()
          return value
        end)
        return ok, message
      end)
      return table.pack(step())
    end)
  end)

  it("throws at the caller's line for a value that is no function", function()
    local text = misuse(function() coroutine.wrap(1) end)
    assert.matches("bad argument #1 to 'wrap'", text)
  end)
end)

describe("tw.after", function()
  it("calls its function once, after that time", function()
    local calls = {}
    async.after(0.5, function(...) table.insert(calls, { world:now(), select("#", ...) }) end)
    world:advance(0.4)
    assert.same({}, calls)
    world:advance(5)
    assert.same({ { 0.5, 0 } }, calls)
  end)

  it("gives a timer that runs until it fires", function()
    local timer, within
    timer = async.after(1, function() within = timer:is_running() end)
    assert.is_true(timer:is_running())
    world:advance(1)
    assert.is_false(within)
    assert.is_false(timer:is_running())
  end)

  it("does not call a function that was cancelled", function()
    local calls = 0
    local timer = async.after(1, function() calls = calls + 1 end)
    assert.is_true(timer:cancel())
    assert.is_false(timer:is_running())
    assert.is_nil(next(world.timers)) -- nothing is left in C either
    world:advance(2)
    assert.equal(0, calls)
  end)

  it("can be cancelled again, or too late, without harm", function()
    local timer = async.after(1, function() end)
    timer:cancel()
    assert.is_false(timer:cancel())
    local fired = async.after(1, function() end)
    world:advance(1)
    assert.is_false(fired:cancel())
  end)

  it("may be cancelled by another timer of the same moment", function()
    local calls, second = 0, nil
    async.after(1, function() second:cancel() end)
    second = async.after(1, function() calls = calls + 1 end)
    world:advance(1)
    assert.equal(0, calls)
  end)

  it("calls a function that may wait", function()
    local done_at
    async.after(1, function()
      async.sleep(2)
      done_at = world:now()
    end)
    world:advance(5)
    assert.equal(3, done_at)
  end)

  it("with a function that is cancelled while it waits lets it go on to its end", function()
    local done, timer
    timer = async.after(1, function()
      async.sleep(1)
      done = true
    end)
    world:advance(1.5)
    assert.is_false(timer:cancel())
    world:advance(1)
    assert.is_true(done)
  end)

  it("reports an error of its function as the error of a timer", function()
    async.after(1, function() error("out of tea", 0) end)
    world:advance(1)
    assert.equal("timer", world.failures[1].hook)
    assert.equal("out of tea", world.failures[1].value)
  end)

  it("throws at its caller's line for an invalid time or function", function()
    assert.equal("tw.after: seconds must be a number from 0 to 1e9, got -1",
      misuse(function() async.after(-1, print) end))
    assert.matches("^tw.after: seconds must be .* got nan$",
      (misuse(function() async.after(0 / 0, print) end):gsub("%-nan", "nan")))
    assert.matches("^tw.after: seconds must be .* got nil$",
      misuse(function() async.after(nil, print) end))
    assert.equal('tw.after: seconds must be a number from 0 to 1e9, got string "1"',
      misuse(function() async.after("1", print) end))
    assert.equal("tw.after: a function is needed, got string",
      misuse(function() async.after(1, "print") end))
  end)

  it("takes the longest time that it says it takes", function()
    assert.is_true(async.after(1e9, print):cancel())
    assert.matches("^tw.after: ", misuse(function() async.after(1.1e9, print) end))
  end)

  it("has methods, called with a colon", function()
    local timer = async.after(1, print)
    assert.equal("timer:cancel: call it with a colon, timer:cancel()",
      misuse(function() timer.cancel() end))
    assert.equal("timer:is_running: call it with a colon, timer:is_running()",
      misuse(function() local _ = timer.is_running({}) end))
    assert.is_true(timer:is_running())
  end)
end)

describe("tw.every", function()
  it("calls its function again and again, counted from its start", function()
    local times = {}
    async.every(0.1, function() table.insert(times, world:now()) end)
    world:advance(0.35)
    assert.same({ 0.1, 0.2, 0.3 }, times)
  end)

  it("stops when it is cancelled, in its own function too", function()
    local calls, timer = 0, nil
    timer = async.every(1, function()
      calls = calls + 1
      if calls == 2 then
        assert(timer:cancel())
      end
    end)
    world:advance(10)
    assert.equal(2, calls)
    assert.is_false(timer:is_running())
  end)

  it("leaves out and counts ticks that come while its function waits", function()
    local starts = {}
    local timer = async.every(0.1, function()
      table.insert(starts, world:now())
      async.sleep(0.25)
    end)
    world:advance(0.7)
    assert.same({ 0.1, 0.4, 0.7 }, starts)
    assert.equal(4, timer.skipped)
  end)

  it("leaves out and counts the ticks for which the loop was late, and keeps its step", function()
    local times = {}
    local timer = async.every(0.1, function() table.insert(times, world:now()) end)
    world:block(0.35)
    world:advance(0.1)
    assert.same({ 0.35, 0.4 }, times)
    assert.equal(2, timer.skipped)
  end)

  it("has left out nothing while all is in time", function()
    local timer = async.every(0.1, function() end)
    world:advance(1)
    assert.equal(0, timer.skipped)
  end)

  it("goes on after an error, which is a timer's and has its own traceback", function()
    local calls = 0
    async.every(1, function()
      calls = calls + 1
      error("out of tea", 0)
    end)
    world:advance(2)
    assert.equal(2, calls)
    assert.equal("timer", world.failures[2].hook)
    assert.equal("timer: out of tea", tostring(world.failures[2].value))
    assert.matches(HERE, world.failures[2].value.traceback)
  end)

  it("goes on after an error that came after a sleep", function()
    local calls = 0
    async.every(1, function()
      calls = calls + 1
      async.sleep(0.5)
      error("out of tea")
    end)
    world:advance(3)
    assert.equal(3, calls)
  end)

  it("throws at its caller for periods that are too short, and for no function", function()
    assert.equal("tw.every: seconds must be a number from 0.001 to 1e9, got 0",
      misuse(function() async.every(0, print) end))
    assert.equal("tw.every: a function is needed, got nil", misuse(function() async.every(1) end))
  end)
end)

describe("tw.spawn", function()
  it("runs the function beside its caller, with the arguments as they are", function()
    local order = {}
    finish(function()
      async.spawn(function(...) table.insert(order, table.pack(...)) end, 1, nil, "three", nil)
      table.insert(order, "the caller goes on")
    end)
    assert.same({ "the caller goes on", { n = 4, 1, nil, "three", nil } }, order)
  end)

  it("runs a function that may wait while its caller goes on", function()
    local done_at
    finish(function()
      async.spawn(function()
        async.sleep(2)
        done_at = world:now()
      end)
    end, 1)
    assert.is_nil(done_at)
    world:advance(1)
    assert.equal(2, done_at)
  end)

  it("works where nothing can wait", function()
    local done
    async.spawn(function()
      async.sleep(1)
      done = true
    end)
    world:advance(1)
    assert.is_true(done)
  end)

  it("keeps an error from its caller", function()
    assert.equal("fine", finish(function()
      async.spawn(error, "out of tea")
      async.sleep(1)
      return "fine"
    end))
    assert.equal("spawn", world.failures[1].hook)
    assert.equal("out of tea", world.failures[1].value)
  end)

  it("throws at its caller's line for a value that is no function", function()
    assert.equal("tw.spawn: a function is needed, got table",
      misuse(function() async.spawn({}) end))
  end)
end)

describe("tw.await", function()
  it("returns the arguments of a later call of done", function()
    assert.same({ "value", 3 }, { finish(function()
      local value = async.await(function(done) async.after(3, function() done("value") end) end)
      return value, world:now()
    end, 3) })
  end)

  it("returns at once the arguments of an immediate call of done", function()
    local task = world:run(function() return async.await(function(done) done("value") end) end)
    assert.equal("returned", task.state)
    assert.equal("value", task.results[1])
  end)

  it("returns all values, nils and the last nil too", function()
    for _, seconds in ipairs { 0, 1 } do
      local results = table.pack(finish(function()
        return async.await(function(done)
          if seconds == 0 then
            done(nil, "two", nil, 4, nil)
          else
            async.after(seconds, function() done(nil, "two", nil, 4, nil) end)
          end
        end)
      end))
      assert.same({ n = 5, nil, "two", nil, 4, nil }, results)
    end
  end)

  it("returns nothing when nothing is given", function()
    assert.equal(0, finish(function()
      return select("#", async.await(function(done) async.after(1, function() done() end) end))
    end))
  end)

  it("takes the first answer only, at once", function()
    assert.equal(1, finish(function()
      return async.await(function(done)
        done(1)
        done(2)
      end)
    end))
  end)

  it("takes the first answer only, later", function()
    assert.equal(1, finish(function()
      return async.await(function(done)
        async.after(1, function()
          done(1)
          done(2)
        end)
      end)
    end))
  end)

  it("is not disturbed by an answer that comes when it is over", function()
    assert.equal(13, finish(function()
      async.await(function(done)
        done()
        async.after(5, done)
      end)
      async.await(function(done)
        async.after(3, done)
        async.after(6, done)
      end)
      async.sleep(10)
      return world:now()
    end))
  end)

  it("throws what the function throws that begins the work", function()
    local ok, value = finish(function()
      return pcall(async.await, function() error({ "cannot begin" }) end)
    end)
    assert.is_false(ok)
    assert.same({ "cannot begin" }, value)
  end)

  it("that could not begin is not woken by its callback", function()
    assert.equal(10, finish(function()
      pcall(async.await, function(done)
        async.after(1, done)
        error("cannot begin")
      end)
      async.sleep(10)
      return world:now()
    end))
  end)

  it("that could not wait does not wake the hook later", function()
    assert.equal(10, finish(function()
      pcall(table.sort, { 2, 1 }, function()
        async.await(function(done) async.after(1, done) end)
      end)
      async.sleep(10)
      return world:now()
    end))
  end)

  it("works where the function that begins the work waits itself", function()
    assert.equal("early", finish(function()
      return async.await(function(done)
        async.after(1, function() done("early") end)
        async.sleep(2)
      end)
    end, 2))
  end)

  it("works in a coroutine of the script's own", function()
    assert.equal("value", finish(function()
      return coroutine.wrap(function()
        return async.await(function(done) async.after(1, function() done("value") end) end)
      end)()
    end))
  end)

  it("may be answered by another hook", function()
    local answer
    local task = world:run(function() return async.await(function(done) answer = done end) end)
    world:run(function() answer("from beside") end)
    assert.equal("waits", task.state) -- one hook does not run inside of another
    world:turn()
    assert.equal("from beside", task.results[1])
  end)

  it("begins no work where nothing can wait, and says why", function()
    local begun = false
    local text = misuse(function() async.await(function() begun = true end) end)
    assert.equal("tw.await: nothing here can wait (a callback of luv's); use tw.spawn", text)
    assert.is_false(begun)
  end)

  it("throws at its caller's line for a value that is no function", function()
    assert.equal("tw.await: a function is needed, got nil", misuse(function() async.await() end))
  end)
end)
