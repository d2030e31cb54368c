# Completes sweeplora, and python -m sweeplora, in bash 4.3 or newer. In ~/.bashrc:
#   eval "$(python -m sweeplora completion bash)"

# _sweeplora_reply FIRST PROGRAM...: FIRST is the place of the first word after the program.
_sweeplora_reply() {
    local first=$1 part last line
    shift
    local -a program=("$@") words=()
    local place
    for ((place = first; place <= COMP_CWORD; place++)); do
        part=${COMP_WORDS[place]}
        last=${#words[@]}
        # bash takes words apart at = and :, here they are whole again
        if ((last > 0)) && [[ $part == [=:]* || ${words[last - 1]} == *[=:] ]]; then
            words[last - 1]+=$part
        else
            words+=("$part")
        fi
    done
    ((${#words[@]} > 0)) || return 0
    local current=${words[${#words[@]} - 1]} piece=${COMP_WORDS[COMP_CWORD]}
    local before=${current%"$piece"}
    [[ $piece == [=:] ]] && before=$current
    type -t "${program[0]}" >/dev/null || program=(@python@ -m sweeplora)
    COMPREPLY=()
    while IFS= read -r line; do
        [[ -n $line && $line == "$current"* ]] || continue
        COMPREPLY+=("${line#"$before"}")
        [[ $line == *[=./] ]] && compopt -o nospace 2>/dev/null
    done < <("${program[@]}" completion --words -- "${words[@]}" 2>/dev/null)
    return 0
}

_sweeplora() {
    _sweeplora_reply 1 "${COMP_WORDS[0]/#\~/$HOME}"
}

_sweeplora_python() {
    if [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == sweeplora ]] && ((COMP_CWORD > 2)); then
        _sweeplora_reply 3 "${COMP_WORDS[0]/#\~/$HOME}" -m sweeplora
    elif [[ -n ${_sweeplora_python_before-} ]]; then
        "$_sweeplora_python_before" "$@"
    fi
}

# What completed python before goes on doing so for everything else.
if [[ $(complete -p python 2>/dev/null) =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _sweeplora_python ]]; then
    _sweeplora_python_before=${BASH_REMATCH[1]}
fi
complete -o bashdefault -o default -F _sweeplora sweeplora
complete -o bashdefault -o default -F _sweeplora_python python python3
