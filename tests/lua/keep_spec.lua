-- keep_spec.lua -- tw.keep: a table of a name, made once.

local fake_core = require "support.fake_core"

local world, tw

before_each(function()
  world = fake_core:install()
  tw = require "tidewire"
end)

after_each(function() world:uninstall() end)

--- The message of f's error, which must name the line of this file in which f stands.
local function misuse(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line, text = message:match("keep_spec%.lua:(%d+): (.*)")
  assert(line, "the error is not told at its caller: " .. message)
  assert.equal(debug.getinfo(f, "S").linedefined, tonumber(line))
  return text
end

describe("tw.keep", function()
  it("answers the same table for the same name", function()
    local scores = tw.keep("scores", {})
    scores.ada = 7
    assert.equal(scores, tw.keep("scores", {}))
    assert.equal(scores, tw.keep("scores"))
    assert.not_equal(scores, tw.keep("other", {}))
  end)

  it("takes the initial table itself, and only the first time", function()
    local first, second = { n = 1 }, { n = 2 }
    assert.equal(first, tw.keep("n", first))
    assert.equal(first, tw.keep("n", second))
    assert.same({ n = 1 }, first)
  end)

  it("calls a function for it, and only the first time", function()
    local calls = 0
    local function make()
      calls = calls + 1
      return { n = calls }
    end
    assert.same({ n = 1 }, tw.keep("n", make))
    assert.same({ n = 1 }, tw.keep("n", make))
    assert.equal(1, calls)
  end)

  it("begins with an empty table where there is no initial one", function()
    assert.same({}, tw.keep("new"))
  end)

  it("keeps nothing when the function fails", function()
    local ok, problem = pcall(tw.keep, "n", function() error("no database", 0) end)
    assert.is_false(ok)
    assert.equal("no database", problem)
    assert.same({ n = 1 }, tw.keep("n", { n = 1 }))
  end)

  it("gives all the same table when the function waits and others come meanwhile", function()
    local got = {}
    local function take(seconds)
      table.insert(got, tw.keep("slow", function()
        tw.sleep(seconds)
        return { seconds = seconds }
      end))
    end
    world:run(take, 2)
    world:run(take, 1)
    world:advance(3)
    assert.equal(2, #got)
    assert.equal(got[1], got[2])
    assert.equal(got[1], tw.keep("slow"))
  end)

  it("throws for misuse at the script's line", function()
    assert.equal('tw.keep: a name is needed, got ""', misuse(function() tw.keep("", {}) end))
    assert.equal("tw.keep: a name is needed, got table", misuse(function() tw.keep({}) end))
    assert.equal("tw.keep: the initial value must be a table, or a function that returns one; "
      .. "got number",
      misuse(function() tw.keep("n", 0) end))
    assert.equal('tw.keep: the function for "n" must return a table, it returned nil',
      misuse(function() tw.keep("n", function() end) end))
    assert.same({}, tw.keep("n"))
  end)

  it("throws for misuse when the table exists, too", function()
    tw.keep("n", {})
    misuse(function() tw.keep("n", "text") end)
  end)
end)
