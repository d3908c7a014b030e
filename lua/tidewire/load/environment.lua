-- environment.lua -- settings from TIDEWIRE_… environment variables.
--
-- options.lua declares the variables of options. The variables that the program itself reads are
-- listed here, so that they are not taken for misspelt names. Pure: the environment is a table that
-- the caller gives. Runs while an app loads.

local options = require "tidewire.load.options"
local suggest = require "tidewire.base.suggest"

local environment = {}

local PREFIX = "TIDEWIRE_"

--- Variables read by the program before any script runs.
environment.of_the_program = {
  "TIDEWIRE_LOG_LEVEL", "TIDEWIRE_LOG_FORMAT", "TIDEWIRE_LOG_FILE", "TIDEWIRE_PID_FILE",
  "TIDEWIRE_USER", "TIDEWIRE_DRAIN_SECONDS", "TIDEWIRE_LAME_DUCK_SECONDS", "TIDEWIRE_DRAIN_JITTER",
  "TIDEWIRE_BIN", "TIDEWIRE_TEST",
}

-- Second names, which most people expect.
local ALIASES = { TIDEWIRE_MAX_CONNECTIONS = "TIDEWIRE_LIMITS_CONNECTIONS" }

--- Every variable that sets an option: name -> { list = "handler", spec = … }.
---@type table<string, { list: string, spec: tidewire.OptionSpec }>
environment.of_options = {}
for list_name, list in pairs(options.lists) do
  for _, spec in ipairs(list) do
    if spec.env then
      environment.of_options[PREFIX .. spec.env] = { list = list_name, spec = spec }
    end
  end
end
for alias, name in pairs(ALIASES) do
  environment.of_options[alias] = environment.of_options[name]
end

-- Names are compared without the prefix, which would make any two names alike.
local function unknown(name)
  local known = {}
  for other in pairs(environment.of_options) do
    known[#known + 1] = other:sub(#PREFIX + 1)
  end
  for _, other in ipairs(environment.of_the_program) do
    known[#known + 1] = other:sub(#PREFIX + 1)
  end
  local nearest = suggest.nearest(name:sub(#PREFIX + 1), known)
  local hint = nearest and ("; did you mean %s%s?"):format(PREFIX, nearest) or ""
  return ("unknown environment variable %s%s"):format(name, hint)
end

local function read_one(name, text, facts, findings)
  local entry = environment.of_options[name]
  local ok, result = options.check_text(entry.spec, text, facts)
  if ok then
    return result
  end
  for _, message in ipairs(result) do
    findings.problems[#findings.problems + 1] =
      { path = {}, message = ("%s: %s"):format(name, message) }
  end
end

-- In the order they are to be read: names in full before their aliases, which are weaker.
local function names_given(environ)
  local known, given = {}, {}
  for _, name in ipairs(environment.of_the_program) do
    known[name] = true
  end
  for name, text in pairs(environ) do
    local of_the_tests = name:find("^TIDEWIRE_TEST_") ~= nil
    if name:sub(1, #PREFIX) == PREFIX and text ~= "" and not known[name] and not of_the_tests then
      given[#given + 1] = name
    end
  end
  table.sort(given, function(a, b)
    if (ALIASES[a] == nil) ~= (ALIASES[b] == nil) then
      return ALIASES[a] == nil
    end
    return a < b
  end)
  return given
end

--- Reads the settings of an environment. A variable that is empty counts as not set.
---@param environ table<string, string>
---@param facts tidewire.Facts|nil
---@return { app: table, handler: table, limits: table, tls: table } settings  checked values
---@return tidewire.Findings findings  an unknown TIDEWIRE_ variable is a warning
function environment.read(environ, facts)
  local settings = { app = {}, handler = {}, limits = {}, tls = {} }
  local findings = { problems = {}, warnings = {} }
  for _, name in ipairs(names_given(environ)) do
    local entry = environment.of_options[name]
    if not entry then
      findings.warnings[#findings.warnings + 1] = { path = {}, message = unknown(name) }
    else
      local value = read_one(name, environ[name], facts, findings)
      if settings[entry.list][entry.spec.name] == nil then
        settings[entry.list][entry.spec.name] = value
      end
    end
  end
  return settings, findings
end

return environment
