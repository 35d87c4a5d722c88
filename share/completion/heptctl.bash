# Completion of heptctl for bash. Generated: heptctl completion bash
_heptctl_words() { heptctl words "$1" --timeout 1 "${daemon[@]}" 2>/dev/null; }
_heptctl() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' words='' i value
  local -a daemon=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    --state | --socket | --timeout)
      value=${COMP_WORDS[i+1]}
      if [[ $value == = ]]; then value=${COMP_WORDS[i+2]}; fi
      [[ ${COMP_WORDS[i]} == --timeout ]] || daemon+=("${COMP_WORDS[i]}=${value/#\~\//$HOME/}")
      [[ ${COMP_WORDS[i+1]} == = ]] && ((i++))
      ((i++)) ;;
    -*) ;;
    *) [[ $verb ]] || verb=${COMP_WORDS[i]} ;;
    esac
  done
  case $prev in
    --state) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --timeout) return ;;
  esac
  case $verb in
  generate)
    case $prev in
    --negative|-n) return ;;
    --steps|-s) return ;;
    --guidance|-g) return ;;
    --width|-W) return ;;
    --height|-H) return ;;
    --seed) return ;;
    --scheduler) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words schedulers)" -- "$cur"); return ;;
    --model|-m) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words models)" -- "$cur"); return ;;
    --lora) return ;;
    --count|-c) return ;;
    --format|-f) mapfile -t COMPREPLY < <(compgen -W 'png png16 jpeg webp' -- "$cur"); return ;;
    --quality) return ;;
    --image|-i) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --strength) return ;;
    --mask) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --from) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --upscale) return ;;
    --upscaler) return ;;
    --set) return ;;
    --workflow) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words workflows)" -- "$cur"); return ;;
    --priority) return ;;
    --out|-o) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    --previews) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    esac
    words=' --negative --steps --guidance --width --height --seed --scheduler --model --lora --count --format --quality --image --strength --mask --from --upscale --upscaler --set --workflow --priority --out --previews --show --no-show --no-wait --json --state --socket --timeout --help --version'
    ;;
  recipe)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  upscale)
    case $prev in
    --upscaler|-u) return ;;
    --scale|-s) return ;;
    --width|-W) return ;;
    --height|-H) return ;;
    --filter) mapfile -t COMPREPLY < <(compgen -W 'lanczos bicubic bilinear nearest' -- "$cur"); return ;;
    --format|-f) mapfile -t COMPREPLY < <(compgen -W 'png png16 jpeg webp' -- "$cur"); return ;;
    --quality) return ;;
    --set) return ;;
    --priority) return ;;
    --out|-o) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    esac
    words=' --upscaler --scale --width --height --filter --format --quality --set --priority --out --show --no-show --no-wait --json --state --socket --timeout --help --version'
    ;;
  status)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  top)
    case $prev in
    --interval|-i) return ;;
    esac
    words=' --interval --once --json --state --socket --timeout --help --version'
    ;;
  models)
    case $prev in
    --kind|-k) mapfile -t COMPREPLY < <(compgen -W 'checkpoint vae lora controlnet upscaler embedding safety_checker' -- "$cur"); return ;;
    esac
    words=' --scan --kind --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words models) ;;
  sessions)
    case $prev in
    --status|-s) mapfile -t COMPREPLY < <(compgen -W 'queued running paused completed failed cancelled' -- "$cur"); return ;;
    --workflow|-w) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words workflows)" -- "$cur"); return ;;
    --after) return ;;
    --before) return ;;
    --limit|-n) return ;;
    --cursor) return ;;
    esac
    words=' --status --workflow --after --before --limit --estimates --cursor --json --state --socket --timeout --help --version'
    ;;
  session)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words sessions) ;;
  wait)
    case $prev in
    --out|-o) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    esac
    words=' --out --show --no-show --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words sessions) ;;
  preview)
    case $prev in
    --out|-o) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    esac
    words=' --out --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words going-sessions) ;;
  cancel)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words open-sessions) ;;
  pause)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words going-sessions) ;;
  resume)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words paused-sessions) ;;
  retry)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words lost-sessions) ;;
  batches)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  batch)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words batches) ;;
  batch-run)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  validate)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  workflows)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words workflows) ;;
  domains)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  incidents)
    case $prev in
    --domain|-d) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words domains)" -- "$cur"); return ;;
    --limit|-n) return ;;
    esac
    words=' --domain --limit --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words incidents) ;;
  restart)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words domains) ;;
  reload)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  events)
    case $prev in
    --after) return ;;
    --session|-s) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words sessions)" -- "$cur"); return ;;
    --types|-t) return ;;
    --limit|-n) return ;;
    esac
    words=' --follow --after --session --types --limit --json --state --socket --timeout --help --version'
    ;;
  logs)
    case $prev in
    --lines|-n) return ;;
    --session|-s) mapfile -t COMPREPLY < <(compgen -W "$(_heptctl_words sessions)" -- "$cur"); return ;;
    esac
    words=' --lines --session --follow --json --state --socket --timeout --help --version'
    ;;
  trace)
    case $prev in
    --out|-o) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
    esac
    words=' --out --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words sessions) ;;
  drain)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  undrain)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  upgrade)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  stop)
    case $prev in
    esac
    words=' --now --no-wait --json --state --socket --timeout --help --version'
    ;;
  operations)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words operations) ;;
  call)
    case $prev in
    esac
    words=' --internal --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words operations) ;;
  doctor)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  version)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    ;;
  completion)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words='bash zsh' ;;
  help)
    case $prev in
    esac
    words=' --json --state --socket --timeout --help --version'
    [[ $cur == -* ]] || words=$(_heptctl_words verbs) ;;
  *)
    words='generate recipe upscale status top models sessions session wait preview cancel pause resume retry batches batch batch-run validate workflows domains incidents restart reload events logs trace drain undrain upgrade stop operations call doctor version completion help --json --state --socket --timeout --help --version' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _heptctl heptctl
