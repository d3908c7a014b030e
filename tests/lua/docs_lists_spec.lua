-- docs_lists_spec.lua -- lists of the documentation that come from the code are those of the code:
-- options of the command line and their variables, formats, close codes, levels of the log,
-- metrics, labels and presets of the tests.

local sources = require "support.sources"
local environment = require "tidewire.load.environment"
local options = require "tidewire.load.options"

local function page(name)
  return sources.read("docs/" .. name .. ".md")
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function set_of(text, pattern)
  local set = {}
  for name in text:gmatch(pattern) do set[name] = true end
  return set
end

-- The words of a pattern, each once and in order.
local function words(text, pattern)
  return sorted(set_of(text, pattern))
end

-- The manual page without fonts and escapes.
local function manual()
  return (sources.read("man/tidewire.1"):gsub("\\f[A-Z]", ""):gsub("\\%-", "-"):gsub('"', ""))
end

-- ---- the command line ----

-- option -> { variable = the variable that sets the same, of_app = app.lua reads it, of_talk = it
-- is talk's }
local command_line = {}
local option_table = assert(sources.text("settings.lua"):match("OPTIONS = (%b{})"))
for name, row in option_table:gmatch('{ name = "(%-%-[%l-]+)"(.-)},?\n') do
  local own = row:match('variable = "(.-)"')
  local of_options = "TIDEWIRE_" .. name:sub(3):upper():gsub("-", "_")
  local of_command = row:find(" of = ", 1, true) ~= nil
  command_line[name] = {
    variable = own or not of_command and environment.of_options[of_options] and of_options or nil,
    of_app = environment.of_options[of_options] ~= nil,
    of_command = of_command,
  }
end

-- The options of the server in a text, each with what is said of it.
local function check_variables(text, pattern)
  local seen = {}
  for name, described in text:gmatch(pattern) do
    local option = command_line[name]
    if option and not option.of_command then
      seen[name] = true
      assert.equal(option.variable, described:match("TIDEWIRE_[%u_]+"), name)
    end
  end
  for name, option in pairs(command_line) do
    assert.is_truthy(seen[name] or option.of_command, "nothing is said of " .. name)
  end
end

describe("options of the command line", function()
  it("are those of the app, where the docs list them as the strongest source", function()
    local of_app = {}
    for name, option in pairs(command_line) do
      if option.of_app then of_app[name] = true end
    end
    local list = assert(page("configuration"):match("\n1%. the command line %((.-)%)"))
    assert.same(sorted(of_app), words(list, "%-%-[%l-]+"))
  end)

  it("have their variables beside them in the help", function()
    local help = sources.text("help.lua"):gsub("\n  (%-%-%l)", "\n\0%1")
    check_variables(help, "%z(%-%-[%l-]+)([^%z]*)")
  end)

  it("have their variables beside them in the manual page", function()
    local text = manual():match("\n%.SH OPTIONS\n(.-)\n%.SS"):gsub("\n%.TP\n", "\n\0")
    check_variables(text, "%z%S+ (%-%-[%l-]+)([^%z]*)")
  end)

  it("have their variables beside them in operating.md", function()
    local rows = {}
    for options_cell, variables_cell in page("operating"):gmatch("\n| (`%-%-[^|]*) |([^|]*)|") do
      local variables = {}
      for variable in variables_cell:gmatch("TIDEWIRE_[%u_]+") do
        variables[#variables + 1] = variable
      end
      for name in options_cell:gmatch("%-%-[%l-]+") do
        rows[#rows + 1] = ("\0%s %s"):format(name, table.remove(variables, 1) or "")
      end
    end
    check_variables(table.concat(rows), "%z(%-%-[%l-]+)([^%z]*)")
  end)

  for _, name in ipairs({ "--log-format", "--log-level" }) do
    it("have the same choices in the code, the manual page and operating.md: " .. name, function()
      local plain = name:gsub("-", "%%-")
      local choices = option_table:match(plain .. '".-choice "(.-)"')
      local known = words(choices:gsub(" or ", " "), "%l+")
      local row = page("operating"):match("\n| `" .. plain .. "[^|]*|[^|]*|([^\n]*)")
      local paragraph = manual():match("\n%.BI " .. plain .. "[^\n]*\n(.-)\n%.TP")
      for _, choice in ipairs(known) do
        assert.is_truthy(row:find("`" .. choice .. "`", 1, true), "operating.md has no " .. choice)
        assert.is_truthy(paragraph:find(choice, 1, true), "the manual page has no " .. choice)
      end
      for choice in row:match("^[^;]*"):gmatch("`(%l+)`") do
        assert.is_truthy(table.concat(known, " "):find(choice, 1, true), "there is no " .. choice)
      end
    end)
  end
end)

-- ---- options of the app ----

describe("options of the app", function()
  local function in_words(bytes)
    if bytes < 1 << 10 then return tostring(bytes) end
    if bytes < 1 << 20 then return ("%dK"):format(bytes >> 10) end
    return bytes < 1 << 30 and ("%dM"):format(bytes >> 20) or ("%dG"):format(bytes >> 30)
  end

  for _, spec in ipairs(options.lists.limits) do
    if spec.type == "size" and spec.name ~= "memory" then
      it("have their bounds in configuration.md: " .. spec.name, function()
        local value = page("configuration"):match("\n| `" .. spec.name .. "` |[^|]*|([^\n]*)")
        local bounds = value:match("from (%w+ to %w+)") or value:match("at least (%w+)")
        if bounds then
          local from_to = ("%s to %s"):format(in_words(spec.min), in_words(spec.max))
          assert.equal(bounds:find(" to ") and from_to or in_words(spec.min), bounds)
        else
          assert.is_truthy(spec.name:find("_per_address$"), "nothing is said of the bounds")
        end
      end)
    end
  end

  it("are named in configuration.md where they have no variable", function()
    local without = {}
    for _, spec in ipairs(options.lists.handler) do
      if not spec.env and spec.type ~= "hook" then
        without[spec.name] = true
      end
    end
    local sentence = page("configuration"):match("\n([^\n]*) have no variable")
    assert.same(sorted(without), words(sentence, "`([%l_]+)`"))
  end)

  it("are all in the README where they are hooks", function()
    local documented = set_of(sources.read("README.md"):match("\n%* %*%*Hooks%*%*(.-)\n%*"),
      "`([%l_]+)`")
    for _, spec in ipairs(options.lists.handler) do
      if spec.type == "hook" then assert.is_true(documented[spec.name], spec.name) end
    end
  end)
end)

-- ---- close codes ----

describe("close codes", function()
  local known, reasons = {}, {}
  for _, text in pairs(sources.files) do
    for name, code in text:gmatch("%f[%w_](CLOSE_[%u_]+) = (%d%d%d%d)%f[%D]") do
      local is_bound = name:find("_MS$") or name:find("_FIRST_") or name:find("_LAST")
        or name:find("RESERVED")
      if not is_bound then known[code] = true end
    end
    for reason in text:gmatch('"([%l][%l%d ]+)"') do reasons[reason] = true end
  end
  local rows = {}
  local the_end = page("scripting"):match("\n## 7%..-\n## ")
  for cell, text in the_end:gmatch("\n| (%d%d%d%d)[^|]*| ([^\n]*)") do
    rows[cell] = text
  end

  it("are all in scripting.md, and no others", function()
    assert.same(sorted(known), sorted(rows))
  end)

  it("have the reasons that the program sends", function()
    local count = 0
    for _, text in pairs(rows) do
      for reason in text:gmatch("`(%l[%l ]+ %l+)`") do
        assert.is_true(reasons[reason], reason)
        count = count + 1
      end
    end
    assert.is_true(count >= 5)
  end)

  it("have the same reasons in operating.md", function()
    local limits = page("operating"):match("\n## Limits\n(.-)\n## ")
    for reason in limits:gmatch("“(%l[%l ]+)”") do assert.is_true(reasons[reason], reason) end
  end)
end)

-- ---- the API ----

describe("words that scripts compare with", function()
  local known = {}
  for name, text in pairs(sources.files) do
    local pattern = name:find("%.lua$") and '"(%l+)"' or '"(%l+)["\\]'
    for word in text:gmatch(pattern) do known[word] = true end
  end
  local scripting = page("scripting")

  it("are returned where scripting.md says so", function()
    local documented = words(scripting, '`nil, "(%l+)"`')
    assert.is_true(#documented >= 4)
    for _, word in ipairs(documented) do assert.is_true(known[word], word) end
  end)

  it("are the kinds of errors that the types name", function()
    local row = scripting:match("\n| `err%.kind` | ([^\n]*)")
    local types = sources.read("lua/types/tidewire.lua"):match("%-%-%-@field kind ([^\n]*)")
    assert.same(words(types, '"(%l+)"'), words(row, '`"(%l+)"`'))
  end)
end)

-- ---- the log ----

describe("levels of the log", function()
  -- event -> the levels that stand beside it in the code
  local used = {}
  local function use(event, level)
    used[event] = used[event] or {}
    used[event][level] = true
  end
  for name, text in pairs(sources.files) do
    if name:find("%.c$") then
      for _, call in ipairs({
        "log_begin", "log_begin_limited", "log_event", "log_eventf", "log_connections",
      }) do
        for arguments in text:gmatch("%f[%w_]" .. call .. "(%b())") do
          local before, event = arguments:match('^(%([^"]*)"([%l_]+)"')
          for level in (before or ""):gmatch("LOG_(%u+)") do use(event, level:lower()) end
        end
      end
    else
      for level, event in text:gmatch('%.log%("(%l+)", "([%l_]+)"') do use(event, level) end
    end
  end

  local documented = {}
  local the_log = page("operating"):match("\n## The log\n(.-)\n## ")
  for cell, level in the_log:gmatch("\n| ([^|]*) | (%l[^|]*) |") do
    for event in cell:gmatch("`([%l_]+)`") do documented[event] = level end
  end

  it("are those of operating.md", function()
    local count = 0
    for event, levels in pairs(used) do
      if documented[event] ~= "as the event" and documented[event] ~= "as called" then
        for level in pairs(levels) do
          assert.is_truthy((documented[event] or ""):find(level, 1, true),
            ("%s is logged as %s, operating.md says %s"):format(event, level, documented[event]))
          count = count + 1
        end
      end
    end
    assert.is_true(count > 40)
  end)
end)

-- ---- the admin address ----

describe("the admin address", function()
  local admin, stats = sources.text("admin.c"), sources.text("stats.h")

  it("has the paths that operating.md names", function()
    local part = page("operating"):match("\n## The admin address\n(.-)\n## ")
    assert.same(words(admin, 'slice_is%(request%->path, "(/%l+)"'), words(part, "\n| `(/%l+)`"))
  end)

  it("has every metric that the docs name", function()
    local names = {}
    for name in admin:gmatch("# TYPE tidewire_([%l_]+) ") do names[name] = true end
    local counters = stats:match("STATS_COUNTERS%(X%)(.-)\n\n")
    local gauges = stats:match("STATS_GAUGES%(X%)(.-)\n\n")
    for name in counters:gmatch("X%(([%l_]+), ") do names[name .. "_total"] = true end
    for name in gauges:gmatch("X%(([%l_]+), ") do names[name] = true end
    for name in admin:gmatch('add_count%(&?text, "([%l_]+)"') do names[name] = true end
    local node = sources.read("src/cluster/node/node.h")
    for name in node:match("NODE_COUNTERS%(X%)(.-)\n\n"):gmatch("X%(([%l_]+), ") do
      names["cluster_" .. name .. "_total"] = true
    end
    for name in node:match("NODE_GAUGES%(X%)(.-)\n\n"):gmatch("X%(([%l_]+), ") do
      names["cluster_" .. name] = true
    end
    for name in sources.read("src/server/admin_cluster.c"):gmatch('"(server_[%l_]+)"') do
      names["cluster_" .. name] = true
    end
    for name in admin:gmatch('%[REFUSAL_%u+%] =%s*{"([%l_]+)"') do
      names[name .. "_total"] = true
    end
    for _, name in ipairs({
      "operating", "scripting", "configuration", "recipes", "proxies", "cluster",
    }) do
      for metric in page(name):gmatch("`tidewire_([%l_]+)`") do
        assert.is_true(names[metric], ("docs/%s.md names tidewire_%s"):format(name, metric))
      end
    end
  end)
end)

-- ---- examples and checks ----

local function folder(command)
  local found = {}
  local pipe = assert(io.popen(command))
  for name in pipe:lines() do found[name] = true end
  pipe:close()
  return found
end

describe("lists of files", function()
  it("has every example in the README", function()
    local rows = sources.read("README.md"):match("\nThe %[examples%].-\n\n(.-)\n\n")
    assert.same(sorted(folder("ls examples")), words(rows, "%(examples/([%l_]+)/app%.lua%)"))
  end)

  it("has every check of the source in CONTRIBUTING.md", function()
    local rows = words(sources.read("CONTRIBUTING.md"), "\n| `(scripts/check_[%l_]+%.lua)` |")
    assert.same(sorted(folder("ls scripts/check_*.lua")), rows)
  end)
end)

-- ---- the tests ----

describe("what testing.md says of the tests", function()
  local testing = page("testing")
  local cmake = sources.read("cmake/TidewireTests.cmake")
    .. sources.read("cmake/TidewireFuzz.cmake")
  local code = cmake:gsub("\n%s*#[^\n]*", "")

  local labels = {}
  for list in code:gmatch("foreach%(label ([%l ]+)%)") do
    for label in list:gmatch("%l+") do labels[label] = true end
  end
  for label in code:gsub("function%b()", ""):gmatch("tidewire_spec%((%l+) ") do
    labels[label] = true
  end
  for label in code:gmatch("tidewire_test_properties%(%S+ (%l+)") do labels[label] = true end

  it("has every label, and no others", function()
    local table_of_labels = testing:match("\n## Where tests are\n(.-)\n## ")
    assert.same(sorted(labels), words(table_of_labels, "\n| [^|]+ | `(%l+)` |"))
  end)

  it("has the labels that the build's own comment and scripts/test name", function()
    assert.same(sorted(labels), words(cmake, "\n#[^\n]* label (%l+)"))
    local list = sources.read("scripts/test"):match("one label: (.-)\n# +scripts/")
    assert.same(sorted(labels), words(list, "%l+"))
  end)

  it("has the presets of CMakePresets.json", function()
    local presets = {}
    local text = sources.read("CMakePresets.json"):match('"configurePresets": (%b[])')
    for body in text:sub(2, -2):gmatch("%b{}") do
      local name = body:match('"name": "(%l+)"')
      if not body:find('"hidden": true', 1, true) then presets[name] = true end
    end
    assert.is_true(presets.fuzz) -- has no tests: scripts/fuzz
    presets.fuzz = nil
    local documented = set_of(testing, "%-%-preset (%l+)")
    documented.debug = testing:find("everything, in the debug build", 1, true) and true or nil
    assert.same(sorted(presets), sorted(documented))
    local script = sources.read("scripts/test")
    local list = script:match("%-%-preset needs a name: ([%l, ]+)"):gsub(" or ", " ")
    assert.same(sorted(presets), words(list, "%l+"))
    assert.same(sorted(presets), words(script:match("%[%-%-preset ([%l|]+)%]"), "%l+"))
  end)

  it("has every variable of the tests, and no others", function()
    local used = {}
    local pipe = assert(io.popen("grep -rhoE 'TIDEWIRE_TEST_[A-Z_]+' "
      .. "tests/support tests/browser tests/server tests/unit cmake scripts"))
    for name in pipe:lines() do used[name] = true end
    pipe:close()
    used.TIDEWIRE_TEST_TIMEOUT = nil -- a variable of CMake's
    used.TIDEWIRE_TEST_PROGRESS = nil -- scripts/test's own word to cmake/test_report.lua
    local documented = set_of(testing:match("\n| variable | |\n(.-)\n\n"),
      "`(TIDEWIRE_TEST_[%u_]+)")
    assert.same(sorted(used), sorted(documented))
  end)
end)
