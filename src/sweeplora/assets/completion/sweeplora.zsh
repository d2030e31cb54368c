#compdef sweeplora
# Completes sweeplora, and python -m sweeplora, in zsh. In ~/.zshrc, below compinit:
#   eval "$(python -m sweeplora completion zsh)"

# _sweeplora_reply FIRST PROGRAM...: FIRST is the place of the first word after the program.
_sweeplora_reply() {
    local first=$1
    shift
    local -a program=("$@") given=("${(@)words[first,CURRENT]}") found whole open
    (( $+commands[$program[1]] )) || [[ -x $program[1] ]] || program=(@python@ -m sweeplora)
    found=("${(@f)$("${program[@]}" completion --words -- "${(@Q)given}" 2>/dev/null)}")
    open=("${(@M)found:#*[=./]}")
    whole=("${(@)found:#*[=./]}")
    whole=("${(@)whole:#}")
    (( $#open + $#whole )) || { _files; return }
    compadd -S '' -- "${open[@]}"
    compadd -- "${whole[@]}"
}

_sweeplora() {
    _sweeplora_reply 2 "${~words[1]}"
}

_sweeplora_python() {
    if [[ $words[2] == -m && $words[3] == sweeplora ]] && (( CURRENT > 3 )); then
        _sweeplora_reply 4 "${~words[1]}" -m sweeplora
    elif (( $+functions[_python] )); then
        _python "$@"
    else
        _default
    fi
}

if (( $+functions[compdef] )); then
    compdef _sweeplora sweeplora
    compdef _sweeplora_python python python3
fi
