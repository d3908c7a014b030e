-- app_rooms_spec.lua -- the app's option `rooms`: its normal form, the order of patterns, and the
-- messages for problems.

local app_rooms = require "tidewire.load.app_rooms"
local AppReport = require "tidewire.load.app_report"

local function read(rooms)
  local report = AppReport.new("apps/chat/app.lua", {})
  local rules, errors = app_rooms.read(report, rooms), {}
  for i, problem in ipairs(report.errors) do errors[i] = problem.message end
  return rules, errors
end

local function patterns(rooms)
  local rules, errors = read(rooms)
  assert.same({}, errors)
  local list = {}
  for i, rule in ipairs(rules) do list[i] = rule.pattern end
  return list
end

describe("the option rooms", function()
  it("has defaults", function()
    assert.same({
      {
        pattern = "chat:*", history = 100, history_seconds = 0, history_bytes = 1 << 20,
        retain_keys = 0, retain_seconds = 0, retain_bytes = 1 << 20,
      },
    }, (read { ["chat:*"] = { history = 100 } }))
    assert.same({
      {
        pattern = "price:*", history = 0, history_seconds = 0, history_bytes = 1 << 20,
        retain_keys = 1000, retain_seconds = 0, retain_bytes = 1 << 20,
      },
    }, (read { ["price:*"] = { retain = true } }))
    assert.same({ {}, {} }, { read(nil) })
    assert.same({ {}, {} }, { read(false) })
    assert.same({ {}, {} }, { read({}) })
  end)

  it("takes what is given", function()
    assert.same({
      {
        pattern = "*", history = 1000000000, history_seconds = 0.5, history_bytes = 2048,
        retain_keys = 5, retain_seconds = 60, retain_bytes = 10,
      },
    }, (read {
      ["*"] = {
        history = 1e9, history_seconds = 0.5, history_bytes = "2K",
        retain = true, retain_keys = 5, retain_seconds = 60, retain_bytes = 10,
      },
    }))
  end)

  it("puts the most specific pattern first", function()
    local one = { history = 1 }
    assert.same({ "chat:vip", "chat:vip:*", "chat:v*", "chat:*:log", "chat:*", "*:x", "*" },
      patterns {
        ["*"] = one, ["chat:*"] = one, ["chat:vip"] = one, ["chat:*:log"] = one,
        ["chat:vip:*"] = one, ["*:x"] = one, ["chat:v*"] = one,
      })
  end)

  it("keeps the order of a list", function()
    assert.same({ "*", "chat:*" }, patterns { { "*", history = 1 }, { "chat:*", false } })
    assert.equal(0, (read { { "chat:*", false } })[1].history)
    assert.equal(7, (read { { "chat:*", { history = 7 } } })[1].history)
  end)

  for what, case in pairs {
    ["a misspelt option"] = {
      { ["chat:*"] = { histori = 1 } },
      'rooms["chat:*"]: unknown option "histori"; did you mean "history"?',
    },
    ["a count that is none"] = {
      { ["chat:*"] = { history = 0 } },
      'rooms["chat:*"].history: expected a whole number, 1 or more, got 0',
    },
    ["a negative time"] = {
      { ["chat:*"] = { history = 1, history_seconds = -1 } },
      'rooms["chat:*"].history_seconds: expected a number of seconds, 0 or more, got -1',
    },
    ["a size that is none"] = {
      { ["chat:*"] = { history = 1, history_bytes = "1X" } },
      'rooms["chat:*"].history_bytes: expected a size in bytes from 1 to 1024G, or a text such as '
        .. '"64K" or "1M", got string "1X"',
    },
    ["an entry that is no table"] = {
      { ["chat:*"] = 100 },
      'rooms["chat:*"]: expected a table such as { history = 100 }, got 100',
    },
    ["an entry without a memory"] = {
      { ["chat:*"] = {} },
      'rooms["chat:*"]: it needs history, the number of messages, or retain = true, '
        .. 'or presence = false',
    },
    ["a limit without its memory"] = {
      { ["chat:*"] = { retain = true, history_bytes = "1M" } },
      'rooms["chat:*"]: history_bytes needs history, the number of messages',
    },
    ["keys that are not retained"] = {
      { ["chat:*"] = { history = 1, retain_keys = 5 } },
      'rooms["chat:*"]: retain_keys needs retain = true',
    },
    ["an empty pattern"] = {
      { [""] = { history = 1 } },
      'rooms: a pattern of names is expected, such as "chat:*", got ""',
    },
    ["a pattern that is no text"] = {
      { [true] = { history = 1 } },
      'rooms: a pattern of names is expected, such as "chat:*", got true',
    },
    ["an entry of a list without a pattern"] = {
      { { history = 1 } },
      'rooms[1]: a pattern of names is expected, such as "chat:*", got nil',
    },
    ["a table in a list"] = {
      { { "a", history = 1 }, ["chat:*"] = { history = 1 } },
      'rooms: a list has no entry [string "chat:*"]: write either a list, { { "chat:*", history = '
        .. '100 } }, or { ["chat:*"] = { history = 100 } }',
    },
  } do
    it("refuses " .. what, function()
      assert.same({ case[2] }, { (select(2, read(case[1])))[1] })
    end)
  end
end)
